"""`Client.ingest`: batches, results of each item, a busy gateway, and ends that come early."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from clipserve_client import AsyncClient, Client, NewItem, Picture, Result
from clipserve_client.answers.answers import ItemResult, Limits
from clipserve_client.errors import ApiError, CallTimedOut, FingerprintMismatch, Overloaded, TooLarge, api_error
from clipserve_client.ingest import delivery
from clipserve_client.ingest.batches import batches, body_of
from clipserve_client.ingest.engine import run
from clipserve_client.retries import Retries
from tests.client.answering import failure
from tests.gateway.fakes import picture
from tests.waiting import until

SMALL = Limits(max_body_bytes=4000, max_items=10)


class Gateway:
    """Takes batches as the gateway's ingest does: `behave` may raise, or give an item's error."""

    timeout_s = 5.0

    def __init__(self, behave: Any = lambda _: {}, limits: Limits = SMALL) -> None:
        self.behave, self._limits = behave, limits
        self.batches: list[list[str]] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    def limits(self) -> Limits:
        return self._limits

    def send_once(self, call: Any, _: float) -> Any:

        ids = [item["id"] for item in json.loads(call.content())["items"]]
        with self.lock:
            self.batches.append(ids)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            errors = self.behave(ids)
        finally:
            with self.lock:
                self.under_way -= 1
        return [ItemResult(i, errors[i].status if i in errors else 200, envelope(errors.get(i))) for i in ids]


def envelope(error: ApiError | None) -> Any:
    return None if error is None else {"message": error.message, "code": error.code}


def error(status: int, code: str, retry_after: float | None = None) -> ApiError:
    return api_error(status, failure(code), retry_after=retry_after)


def items(number: int, size: int = 10) -> list[NewItem]:
    return [NewItem(f"i{n}", text="x" * size) for n in range(number)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_BACKOFF", Retries(initial_backoff_s=0.01, max_backoff_s=0.02))


def test_batches_are_cut_by_bytes_and_by_number() -> None:
    cut = [batch for batch in batches(items(25), SMALL) if isinstance(batch, list)]
    assert [len(batch) for batch in cut] == [10, 10, 5]
    cut = [batch for batch in batches(items(25, 1000), SMALL) if isinstance(batch, list)]
    assert {len(batch) for batch in cut} == {3, 1}
    assert max(len(body_of(batch)) for batch in cut) <= SMALL.max_body_bytes


@pytest.mark.parametrize(
    "item",
    [
        NewItem('a"}b', image=b"\0\xff}" * 50, metadata={"caption": '"}, ü'}),
        NewItem("a", image=b"one"),
        NewItem("a", image='https://example.org/"?a={b}', metadata={"n": 1}),
        NewItem("a", image='data:image/png;base64,"x'),
        NewItem("a", text='"}'),
        NewItem("a", vector=[0.5, 1.0]),
    ],
)
def test_a_batch_is_the_items_in_json_whatever_they_hold(item: NewItem) -> None:
    (batch,) = batches([item], SMALL)
    assert isinstance(batch, list)
    assert json.loads(body_of(batch)) == {"items": [item.body()]}


def test_every_item_has_one_result(client, tmp_path) -> None:
    given: list[NewItem | Result] = [NewItem(f"p{n}", image=picture(f"p{n}"), metadata={"n": n}) for n in range(100)]
    given += [NewItem("bad", image=b"no picture"), NewItem("gone", image=Picture(tmp_path / "gone.png"))]
    given += [NewItem("p3", text="again"), NewItem("nan", text="x", metadata={"x": float("nan")})]
    given += [Result("known", "unchanged"), Result("video", "skipped", "not a picture")]
    results: list[Result] = []
    tally = client.ingest("demo", given, on_result=results.append)
    assert sorted(result.id for result in results) == sorted(thing.id for thing in given)
    assert (tally.added, tally.unchanged, dict(tally.skipped), tally.seen) == (100, 1, {"not a picture": 1}, 106)
    codes = {"bad": "invalid_image", "gone": "unreadable", "p3": "duplicate_id", "nan": "unreadable"}
    assert {result.id: result.code for result in tally.failed} == codes
    assert client.item("demo", "p3").metadata["n"] == 3
    assert client.collection("demo").count == 100


def test_pictures_beyond_the_body_limit_go_in_several_calls(stack_of) -> None:
    stack = stack_of(max_body_bytes=100_000, max_buffered_bytes=300_000)
    with Client(stack.url) as client:
        pictures = [NewItem(f"p{n}", image=picture("x" * 30_000 + str(n))) for n in range(12)]
        tally = client.ingest("demo", [*pictures, NewItem("huge", image=picture("x" * 90_000))])
    assert (tally.added, [result.code for result in tally.failed]) == (12, ["request_too_large"])


def test_an_alias_is_filled_and_an_existing_collection_kept(client) -> None:
    client.create_collection("demo", metric="dot")
    client.set_alias("pets", "demo")
    assert client.ingest("pets", items(3)).added == 3
    assert client.collection("demo").count == 3


def test_a_batch_that_is_refused_is_halved_until_the_bad_item_is_found() -> None:
    def refuse(ids: list[str]) -> dict[str, ApiError]:
        if "i5" in ids:
            raise TooLarge("too large", status=413)
        return {}

    gateway = Gateway(refuse)
    tally = run(gateway, "demo", items(20))
    assert tally.added == 19
    assert [(result.id, result.code) for result in tally.failed] == [("i5", "request_too_large")]


def test_only_what_was_not_taken_is_sent_again() -> None:
    first = {"i1": error(503, "index_unavailable"), "i2": error(429, "overloaded")}
    gateway = Gateway(lambda ids: {i: first.pop(i) for i in list(first) if i in ids})
    assert run(gateway, "demo", items(6)).added == 6
    assert gateway.batches == [[f"i{n}" for n in range(6)], ["i1", "i2"]]


def test_an_item_that_ends_workers_spoils_no_other() -> None:
    gateway = Gateway(lambda ids: {i: error(503, "worker_lost") for i in ids} if "i7" in ids else {})
    tally = run(gateway, "demo", items(10))
    assert tally.added == 9
    assert [(result.id, result.code) for result in tally.failed] == [("i7", "worker_lost")]


def test_calls_that_take_too_long_are_made_smaller() -> None:
    def slow(ids: list[str]) -> dict[str, ApiError]:
        if len(ids) > 3:
            raise CallTimedOut("no answer")
        return {}

    assert run(Gateway(slow), "demo", items(20)).added == 20


def test_it_is_slower_while_the_gateway_says_429() -> None:
    busy = [error(429, "overloaded", 0.1)] * 3
    times: list[float] = []

    def behave(_: list[str]) -> dict[str, ApiError]:
        times.append(time.monotonic())
        if busy:
            raise busy.pop()
        return {}

    gateway = Gateway(behave)
    tally = run(gateway, "demo", items(100), in_flight=4)
    assert tally.added == 100
    assert times[-1] - times[0] >= 0.1
    quiet = Gateway(lambda _: until(lambda: quiet.most_under_way == 4) and {})
    run(quiet, "demo", items(100), in_flight=4)
    assert quiet.most_under_way == 4


def test_patience_ends() -> None:
    def always(_: list[str]) -> dict[str, ApiError]:
        raise Overloaded("busy", status=429)

    with pytest.raises(Overloaded):
        run(Gateway(always), "demo", items(3), retry_timeout_s=0.2)


def test_what_concerns_all_items_ends_it_and_what_came_back_is_told() -> None:
    def behave(ids: list[str]) -> dict[str, ApiError]:
        if "i15" in ids:
            raise FingerprintMismatch("another model", status=409)
        time.sleep(0.1)
        return {}

    told: list[Result] = []
    with pytest.raises(FingerprintMismatch):
        run(Gateway(behave), "demo", items(20), on_result=told.append)
    assert {result.id for result in told} == {f"i{n}" for n in range(10)}


def test_what_was_read_before_the_source_broke_is_sent() -> None:
    def broken() -> Any:
        yield from items(15)
        raise OSError("the disk is gone")

    told: list[Result] = []
    gateway = Gateway()
    with pytest.raises(OSError, match="the disk is gone"):
        run(gateway, "demo", broken(), on_result=told.append)
    assert {result.id for result in told if result.outcome == "added"} == {f"i{n}" for n in range(15)}


def test_an_interrupt_lets_batches_under_way_come_back() -> None:
    def interrupted() -> Any:
        yield from items(15)
        time.sleep(0.05)  # the first batch is under way
        raise KeyboardInterrupt

    told: list[Result] = []
    gateway = Gateway(lambda _: time.sleep(0.3) or {})
    with pytest.raises(KeyboardInterrupt):
        run(gateway, "demo", interrupted(), on_result=told.append)
    assert len(told) == 10


def test_it_can_be_stopped() -> None:
    stop = threading.Event()
    tally = run(
        Gateway(lambda _: time.sleep(0.02) or {}), "demo", items(200), on_result=lambda _: stop.set(), stop=stop
    )
    assert 0 < tally.added < 60


async def test_the_async_client_ingests_and_is_cancelled(stack) -> None:
    async with AsyncClient(stack.url) as client:
        told: list[Result] = []
        tally = await client.ingest("demo", items(30), on_result=told.append)
        await asyncio.sleep(0.05)
        assert (tally.added, len(told)) == (30, 30)
        stack.torchserve.delay_s = 0.1
        working = asyncio.create_task(client.ingest("demo", items(2000)))
        await asyncio.sleep(0.2)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
