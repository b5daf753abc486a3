"""The client of OpenAI's API against a real server on loopback: answers, failures, caps, costs, the cache."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.assistant.openai_server import OpenAiServer
from clip_core.errors import (
    AssistantFailed,
    AssistantRefused,
    AssistantUnauthorized,
    AssistantUnavailable,
    BudgetSpent,
    DeadlineExceeded,
    Overloaded,
    UnknownPrice,
)
from gateway.assistant.provider.completion_cache import CompletionCache
from gateway.assistant.provider.image_tokens import ImageRule
from gateway.assistant.provider.language_model import LanguageModel
from gateway.assistant.provider.openai_provider import OpenAiProvider, ProviderOptions
from gateway.assistant.provider.prices import Price, PriceTable
from gateway.assistant.provider.prompt import Completion, Prompt, ShownPicture, TokenUse
from gateway.assistant.provider.shown_pictures import shown_picture
from gateway.assistant.provider.spending import Spending, SpendingCaps
from gateway.assistant.provider.turns_of_keys import TurnsOfKeys
from gateway.keys.api_key import ApiKey, set_current_key

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
NO_CAPS = SpendingCaps()
PLAIN = Prompt("Be brief.", ("What is shown?",), "test-1", max_tokens=50)
FORMED = Prompt("Be brief.", ("What is shown?",), "test-1", SCHEMA, max_tokens=50)
APIS = pytest.mark.parametrize("api", ["chat", "responses"])


@pytest.fixture
async def model_of(provider: tuple[OpenAiServer, str], tmp_path: Path) -> AsyncIterator[Any]:
    """`model_of(api="chat", caps=…)` asks the server, which begins anew."""
    server, url = provider
    server.__init__()  # type: ignore[misc]
    made: list[LanguageModel] = []

    def make(
        caps: SpendingCaps = NO_CAPS,
        turns: TurnsOfKeys | None = None,
        cache: int = 0,
        name: str = "gpt-4o",
        url: str = url,
        **options: Any,
    ) -> LanguageModel:
        provider = OpenAiProvider(ProviderOptions(url, "sk-own", name, **{"timeout_s": 10.0, **options}))
        spending = Spending(tmp_path / "spending.db", caps)
        turns = turns or TurnsOfKeys(8, 8)
        made.append(LanguageModel(provider, PriceTable.load(), spending, CompletionCache(cache), turns))
        return made[-1]

    make.server = server  # type: ignore[attr-defined]
    yield make
    for model in made:
        await model.close()


def picture(width: int = 900, height: int = 600) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(written, "PNG")
    return written.getvalue()


async def streamed(model: LanguageModel, prompt: Prompt) -> tuple[list[str], Completion]:
    pieces = [piece async for piece in model.stream(prompt)]
    assert isinstance(pieces[-1], Completion)
    return [piece for piece in pieces if isinstance(piece, str)], pieces[-1]


@APIS
async def test_an_answer_whole_and_in_pieces(model_of, api) -> None:
    model = model_of(api=api)
    whole = await model.complete(PLAIN)
    pieces, last = await streamed(model, PLAIN)
    assert whole.text == last.text == "".join(pieces) == "a red circle"
    assert len(pieces) == 2
    assert whole.use == last.use
    assert whole.use.input > whole.use.cached > 0
    assert whole.cost_usd == pytest.approx(Price(2.5, 1.25, 10).cost(whole.use))
    assert model_of.server.asked[0].headers["authorization"] == "Bearer sk-own"


@APIS
async def test_pictures_and_a_schema_are_sent(model_of, api) -> None:
    model, server = model_of(api=api), model_of.server
    server.reply = lambda _: '{"answer": "red"}'
    shown = shown_picture(picture(), 512, "low", 10**7)
    found = await model.complete(Prompt("s", ("first", shown, "last"), "1", SCHEMA))
    assert found.data == {"answer": "red"}
    (asked,) = server.asked
    assert (asked.texts, asked.schema) == (["first", "last"], SCHEMA)
    assert asked.pictures == [shown]
    assert (shown.width, shown.height) == (512, 341)


@pytest.mark.parametrize(
    ("failure", "kind", "tries"),
    [
        ((401, {}), AssistantUnauthorized, 1),
        ((404, {}), AssistantFailed, 1),
        ((400, {}), AssistantFailed, 1),
        ((429, {"retry-after": "0"}), Overloaded, 3),
        ((429, {"retry-after": "121"}), Overloaded, 1),
        ((429, {"retry-after": "1e400"}), Overloaded, 1),
        ((429, {"retry-after-ms": "1"}), Overloaded, 3),
        ((500, {"retry-after-ms": "1"}), AssistantUnavailable, 3),
        ((503, {"retry-after-ms": "1"}), AssistantUnavailable, 3),
    ],
)
async def test_statuses_are_named_errors_and_cost_nothing(model_of, failure, kind, tries) -> None:
    model = model_of(caps=SpendingCaps(1.0))
    model_of.server.failures = [failure] * 9
    with pytest.raises(kind) as raised:
        await model.complete(PLAIN)
    assert "sk-secret" not in raised.value.message
    assert getattr(raised.value, "retry_after", 0) <= 24 * 3600
    assert len(model_of.server.asked) == tries
    assert len({asked.headers["idempotency-key"] for asked in model_of.server.asked}) == 1
    assert sum((await model.spending.of_today()).values()) == 0


async def test_one_failure_is_tried_again_and_billed_once(model_of) -> None:
    model = model_of()
    model_of.server.failures = [(429, {}), (500, {"retry-after-ms": "1"})]
    found = await model.complete(PLAIN)
    assert len(model_of.server.asked) == 3
    assert sum((await model.spending.of_today()).values()) == pytest.approx(found.cost_usd)


@APIS
@pytest.mark.parametrize(
    ("failure", "kind"), [("refusal", AssistantRefused), ("length", AssistantFailed), ("html", AssistantFailed)]
)
async def test_answers_that_are_none(model_of, api, failure, kind) -> None:
    model = model_of(api=api)
    model_of.server.failures = [failure]
    with pytest.raises(kind):
        await model.complete(PLAIN)
    assert len(model_of.server.asked) == 1
    assert sum((await model.spending.of_today()).values()) > 0


@pytest.mark.parametrize(
    ("api", "failure"), [("chat", "half"), ("chat", "cut"), ("chat", "lost"), ("responses", "half")]
)
async def test_half_a_stream_is_an_error_and_costs_its_estimate(model_of, api, failure) -> None:
    model = model_of(api=api)
    model_of.server.failures = [failure]
    with pytest.raises(AssistantFailed, match="broke off"):
        await streamed(model, PLAIN)
    spent = (await model.spending.of_today())["anonymous"]
    assert spent == pytest.approx(Price(2.5, 1.25, 10).cost(model.estimates.of(PLAIN)))


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"answer": "cut'])
async def test_what_is_not_json_is_an_error(model_of, text) -> None:
    model = model_of()
    model_of.server.reply = lambda _: text
    with pytest.raises(AssistantFailed, match="JSON"):
        await model.complete(FORMED)


async def test_nobody_there_and_nobody_in_time(model_of) -> None:
    away = model_of(url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(AssistantUnavailable, match="reached"):
        await away.complete(PLAIN)
    model_of.server.delay_s = 0.5
    slow = model_of(timeout_s=0.1, retries=2)
    with pytest.raises(DeadlineExceeded):
        await slow.complete(PLAIN)


async def test_neither_key_nor_question_is_logged(model_of, caplog, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-environment")
    caplog.set_level("DEBUG")
    model = model_of()
    model_of.server.failures = [(500, {"retry-after-ms": "1"}), (401, {})]
    with pytest.raises(AssistantUnauthorized):
        await model.complete(PLAIN)
    assert "sk-own" not in caplog.text
    assert "What is shown?" not in caplog.text
    assert not [name for name in model_of.server.asked[0].headers if name.startswith("openai-")]


async def test_caps_by_day_and_key(model_of, tmp_path) -> None:
    model = model_of(SpendingCaps(all_usd=1.0, key_usd=0.0015))
    one, other = ApiKey("one"), ApiKey("other")
    set_current_key(one)
    model_of.server.reply = lambda _: "w " * 120
    await model.complete(PLAIN)
    with pytest.raises(BudgetSpent, match="this API key") as raised:
        await model.complete(PLAIN)
    assert 0 < raised.value.retry_after <= 86400
    set_current_key(other)
    await model.complete(PLAIN)
    again = Spending(tmp_path / "spending.db", SpendingCaps())
    assert set(await again.of_today()) == {"one", "other"}, "a restart forgets nothing"
    again.close()


async def test_what_is_reserved_counts_until_it_is_settled(tmp_path) -> None:
    moment = [1.7e9]
    spending = Spending(tmp_path / "s.db", SpendingCaps(all_usd=1.0), now=lambda: moment[0])
    reserved = await spending.reserve("a", 0.6)
    with pytest.raises(BudgetSpent):
        await spending.reserve("b", 0.6)
    await spending.settle(reserved, 0.1, 5)
    late = await spending.reserve("b", 0.6)
    moment[0] += 86400
    await spending.reserve("a", 0.4)
    await spending.settle(late, 0.5, 5)
    assert await spending.of_today() == {"a": 0.4}, "a call is of the day on which it was asked"
    moment[0] -= 86400
    assert await spending.of_today() == pytest.approx({"a": 0.1, "b": 0.5})
    spending.close()


async def test_what_a_caller_that_left_reserved_is_free_again(tmp_path) -> None:
    spending = Spending(tmp_path / "s.db", SpendingCaps(all_usd=1.0))
    with spending._record.transaction():
        reserving = asyncio.create_task(spending.reserve("a", 0.6))
        await asyncio.sleep(0.05)  # a thread waits for the lock now
        reserving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reserving
    for _ in range(100):
        await asyncio.sleep(0.01)
        with contextlib.suppress(BudgetSpent):
            await spending.reserve("b", 0.6)
            break
    else:
        pytest.fail("it is still reserved")
    spending.close()


async def test_an_unknown_price(model_of, tmp_path) -> None:
    uncapped = model_of(name="own-model")
    assert (await uncapped.complete(PLAIN)).cost_usd is None
    capped = model_of(SpendingCaps(key_usd=1.0), name="own-model")
    with pytest.raises(UnknownPrice, match="own-model"):
        await capped.complete(PLAIN)
    file = tmp_path / "prices.json"
    free = {"input": 1, "cached": 1, "output": 1}
    file.write_text(json.dumps({"as_of": "2026-01-01", "models": {"own-model": free}}))
    table = PriceTable.load(file)
    assert (table.price("own-model"), table.as_of) == (Price(1, 1, 1), "2026-01-01")
    assert table.price("gpt-4o-2024-08-06") == table.price("gpt-4o")
    file.write_text(json.dumps({"as_of": "x", "models": {"m": {**free, "input": -1}}}))
    with pytest.raises(ValueError, match="no table of prices"):
        PriceTable.load(file)


async def test_the_same_question_is_answered_from_the_cache(model_of) -> None:
    model = model_of(cache=10)
    first, second = await model.complete(PLAIN), await model.complete(PLAIN)
    assert (second.text, second.from_cache, second.cost_usd) == (first.text, True, 0.0)
    await model.complete(Prompt(PLAIN.system, PLAIN.parts, "test-2", max_tokens=50))
    assert len(model_of.server.asked) == 2, "another version of the template is another question"


async def test_a_failure_is_not_kept(model_of) -> None:
    model = model_of(cache=10)
    model_of.server.failures = ["refusal"]
    with pytest.raises(AssistantRefused):
        await model.complete(PLAIN)
    assert (await model.complete(PLAIN)).text == "a red circle"


async def test_turns(model_of) -> None:
    model = model_of(turns=TurnsOfKeys(2, 5))
    model_of.server.delay_s = 0.05
    asked = await asyncio.gather(*(model.complete(PLAIN) for _ in range(7)), return_exceptions=True)
    assert [type(each) for each in asked].count(Overloaded) == 2
    assert model_of.server.busiest == 2


async def test_a_provider_that_counts_nothing_costs_its_estimate(model_of) -> None:
    model = model_of()
    model_of.server.usage = False
    found = await model.complete(PLAIN)
    assert found.use == TokenUse(found.estimated.input, 3)


@pytest.mark.parametrize("rule", [ImageRule(), ImageRule("patches", multiplier=1.62)], ids=["tiles", "patches"])
async def test_estimates_are_within_5_percent_of_what_is_billed(model_of, rule) -> None:
    """After a few questions, from which the ratio of bytes to tokens is learned."""
    model, server = model_of(), model_of.server
    server.rule = model.estimates.rule = rule
    texts = [
        "which of these pictures shows a red circle on a white background? ",
        "metadata: colour is blue, shape star. ",
    ]
    for turn in range(12):
        parts = [texts[turn % 2] * 8, shown_picture(picture(300 + 50 * turn, 400), rule.side("low"), "low", 10**7)]
        parts.append(shown_picture(picture(), rule.side("high"), "high", 10**7))
        found = await model.complete(Prompt("You answer about pictures.", tuple(parts), str(turn)))
    assert found.estimated.input == pytest.approx(found.use.input, rel=0.05)


@pytest.mark.parametrize(
    ("rule", "size", "detail", "tokens"),
    [
        (ImageRule(), (4096, 8192), "low", 85),
        (ImageRule(), (1024, 1024), "high", 765),
        (ImageRule(), (2048, 4096), "high", 1105),
        (ImageRule(), (512, 512), "high", 255),
        (ImageRule("patches"), (1024, 1024), "high", 1024),
        (ImageRule("patches"), (1800, 2400), "high", 1452),
    ],
)
def test_tokens_of_pictures_are_those_of_the_documents_examples(rule, size, detail, tokens) -> None:
    assert rule.tokens(ShownPicture("", *size, detail)) == tokens


async def test_spending_that_can_not_be_read(model_of, tmp_path) -> None:
    free, capped = model_of(), model_of(caps=SpendingCaps(1.0))
    (tmp_path / "spending.db").write_bytes(b"no database at all" * 100)
    assert (await free.complete(PLAIN)).text == "a red circle"
    with pytest.raises(AssistantUnavailable, match="spent"):
        await capped.complete(PLAIN)
    assert len(model_of.server.asked) == 1


async def test_an_answer_without_an_end(model_of, monkeypatch) -> None:
    monkeypatch.setattr("gateway.assistant.provider.openai_provider._LONGEST", 5_000)
    model = model_of()
    model_of.server.reply = lambda _: "word " * 10_000
    with pytest.raises(AssistantFailed, match="end"):
        await streamed(model, PLAIN)


async def test_an_answer_whose_pieces_come_at_once_ends_in_time(model_of) -> None:
    model = model_of(timeout_s=0.3)
    model_of.server.reply = lambda _: "word " * 39_000
    with pytest.raises(DeadlineExceeded):
        await streamed(model, PLAIN)


async def test_a_whole_answer_without_an_end(model_of, monkeypatch) -> None:
    monkeypatch.setattr("gateway.assistant.provider.bounded_answers._MOST_BYTES", 100_000)
    model = model_of()
    model_of.server.reply = lambda _: "word " * 100_000
    with pytest.raises(AssistantFailed, match="does not end"):
        await model.complete(PLAIN)
    assert len(model_of.server.asked) == 1
    assert sum((await model.spending.of_today()).values()) > 0


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "many", "completion_tokens": 5},
        {"prompt_tokens": -1_000_000, "completion_tokens": 5},
        {"prompt_tokens": 10**12, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": -1}},
    ],
)
async def test_counts_that_can_not_be_ones_cost_the_estimate(model_of, usage) -> None:
    model = model_of()
    model_of.server.failures = [usage]
    found = await model.complete(PLAIN)
    assert found.use.input == model.estimates.of(PLAIN).input
    assert (await model.spending.of_today())["anonymous"] == pytest.approx(found.cost_usd)


@pytest.mark.parametrize(("status", "kind"), [(429, Overloaded), (503, AssistantUnavailable)])
async def test_a_provider_that_lets_wait_for_too_long_costs_nothing(model_of, status, kind) -> None:
    model = model_of(timeout_s=0.5)
    model_of.server.failures = [(status, {"retry-after": "30"})] * 3
    with pytest.raises(kind):
        await model.complete(PLAIN)
    assert len(model_of.server.asked) == 1
    assert sum((await model.spending.of_today()).values()) == 0


async def test_a_provider_that_repeats_its_key_does_not_spread_it(model_of) -> None:
    model = model_of()
    model_of.server.failures = [(400, {}, "wrong key: sk-own")]
    with pytest.raises(AssistantFailed) as raised:
        await model.complete(PLAIN)
    assert "sk-own" not in "".join(traceback.format_exception(raised.value))
