"""The handler as TorchServe calls it, without TorchServe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clip_core.serving.answers import Answer
from handlers.text_handler import TextHandler


class FakeContext:
    """The parts of ts.context.Context that a handler uses."""

    def __init__(self, model_dir: Path, headers: list[dict[str, str]], config: dict[str, Any] | None = None) -> None:
        self.model_name = "clip_text"
        self.system_properties = {"model_dir": str(model_dir)}
        self.model_yaml_config = config
        self.headers = headers
        self.request_ids = {index: f"r{index}" for index in range(len(headers))}
        self.stopping_criteria: list[Any] | None = None
        self.statuses: dict[int, int] = {}
        self.sent: dict[tuple[int, str], str] = {}

    def get_request_header(self, index: int, key: str) -> str | None:
        return self.headers[index].get(key)

    def get_all_request_header(self, index: int) -> dict[str, str]:
        return self.headers[index]

    def set_response_status(self, code: int, phrase: str, index: int) -> None:
        assert phrase
        self.statuses[index] = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.sent[index, "content-type"] = value

    def set_response_header(self, index: int, key: str, value: str) -> None:
        self.sent[index, key] = value


HTTP = {"Host": "localhost", "Content-Type": "text/plain"}


def started(model_dirs: dict[str, Path]) -> TextHandler:
    handler = TextHandler()
    handler.initialize(FakeContext(model_dirs["text"], [], {"threads": 2, "batchSize": 8}))
    return handler


@pytest.fixture(scope="module")
def handler(model_dirs: dict[str, Path]) -> TextHandler:
    return started(model_dirs)


def test_one_answer_a_row_each_with_its_status(handler: TextHandler, model_dirs: dict[str, Path]) -> None:
    context = FakeContext(model_dirs["text"], [HTTP, HTTP, {}])
    answers = [
        json.loads(a) for a in handler.handle([{"body": b"a"}, {"body": b" "}, {"data": b'{"input": 3}'}], context)
    ]
    assert context.statuses == {1: 400, 2: 400}
    assert "data" in answers[0]
    assert answers[2]["status"] == 400
    assert (0, "ts_stream_next") not in context.sent
    assert context.sent[2, "ts_stream_next"] == "false"


def test_a_crash_in_one_request_is_not_its_neighbours(
    handler: TextHandler, model_dirs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = handler._answer

    def explosive(requests: Any, *rest: Any) -> Any:
        if any(part.value == "bomb" for request in requests for item in request.items for part in item.parts):
            raise RuntimeError("out of memory")
        return real(requests, *rest)

    monkeypatch.setattr(handler, "_answer", explosive)
    context = FakeContext(model_dirs["text"], [HTTP, HTTP])
    good, bad = (json.loads(a) for a in handler.handle([{"body": b"fine"}, {"body": b"bomb"}], context))
    assert "data" in good
    assert bad["error"]["code"] == "inference_failed"
    assert context.statuses == {1: 424}


@pytest.mark.parametrize("name", ["Origin", "origin", "ORIGIN"])
@pytest.mark.parametrize("value", ["http://rebound.example", "null", ""])
def test_a_web_page_gets_no_answer_and_its_neighbours_do(
    handler: TextHandler, model_dirs: dict[str, Path], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = FakeContext(model_dirs["text"], [{**HTTP, name: value}, HTTP])
    page, curl = (json.loads(a) for a in handler.handle([{"body": b"a"}, {"body": b"a"}], context))
    assert (context.statuses, page["error"]["code"]) == ({0: 403}, "cross_origin")
    assert "data" in curl
    monkeypatch.setattr(handler, "allow_cross_origin", True)
    context = FakeContext(model_dirs["text"], [{**HTTP, name: value}])
    assert "data" in json.loads(handler.handle([{"body": b"a"}], context)[0])


def test_header_names_are_read_in_any_case(handler: TextHandler, model_dirs: dict[str, Path]) -> None:
    lower = {"host": "localhost", "content-type": "text/plain"}
    context = FakeContext(model_dirs["text"], [lower])
    (answer,) = handler.handle([{"body": b'{"input": "this is a text"}'}], context)
    assert "data" in json.loads(answer), "plain text that looks like JSON"
    assert json.loads(answer)["data"][0]["tokens"] > 8
    assert (0, "ts_stream_next") not in context.sent


def test_answers_that_are_too_large_together_lose_the_largest(
    handler: TextHandler, model_dirs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "most_bytes", 3000)
    context = FakeContext(model_dirs["text"], [HTTP, {**HTTP, "Content-Type": "application/json"}, HTTP])
    many = json.dumps({"input": [f"text {n}" for n in range(40)]}).encode()
    answers = handler.handle([{"body": b"a"}, {"body": many}, {"body": b"b"}], context)
    assert context.statuses == {1: 413}
    error = json.loads(answers[1])["error"]
    assert (error["code"], "`k`" in error["message"], "fewer inputs" in error["message"]) == (
        "request_too_large",
        True,
        True,
    )
    assert all("data" in json.loads(answer) for answer in (answers[0], answers[2]))
    assert sum(map(len, answers)) < 3000


@pytest.mark.parametrize("part", ["metrics.add", "metrics.observe", "batch_log.add", "encoders.tally.take"])
def test_what_counts_and_logs_spoils_no_answer(
    handler: TextHandler, model_dirs: dict[str, Path], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("a full disk, a wrong label")

    owner, _, name = part.rpartition(".")
    target: Any = handler
    for attribute in owner.split("."):
        target = getattr(target, attribute)
    monkeypatch.setattr(target, name, explode)
    context = FakeContext(model_dirs["text"], [HTTP])
    assert "data" in json.loads(handler.handle([{"body": part.encode()}], context)[0])
    assert context.statuses == {}


def test_a_status_without_a_name_is_passed_on(
    handler: TextHandler, model_dirs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "_answer", lambda requests, *_: [Answer(599, b"{}") for _ in requests])
    context = FakeContext(model_dirs["text"], [HTTP])
    assert (handler.handle([{"body": b"a"}], context), context.statuses) == ([b"{}"], {0: 599})


@pytest.mark.parametrize("config", [{"threads": -1}, {"max_inputs": "many"}, {"max_batch": True}])
def test_a_bad_setting_is_named(model_dirs: dict[str, Path], config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(config))):
        TextHandler().initialize(FakeContext(model_dirs["text"], [], config))


def test_a_batch_seen_before_comes_from_the_cache(handler: TextHandler, model_dirs: dict[str, Path]) -> None:
    context = FakeContext(model_dirs["text"], [HTTP, HTTP])
    before = handler.encoders.cache.stats
    answers = [handler.handle([{"body": b"seen"}, {"body": b"twice"}], context) for _ in range(2)]
    after = handler.encoders.cache.stats
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 2)
    first, second = ([json.loads(answer)["data"] for answer in batch] for batch in answers)
    assert first == second


@pytest.mark.usefixtures("handler")
def test_canaries_run_before_there_is_a_cache(model_dirs: dict[str, Path]) -> None:
    fresh = TextHandler()
    fresh.initialize(FakeContext(model_dirs["text"], [], {"cache_bytes": 1 << 20}))
    stats = fresh.encoders.cache.stats
    assert (stats.hits, stats.misses, stats.entries) == (0, 0, 0)
