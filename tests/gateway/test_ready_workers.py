"""TorchServe that takes calls and has no worker for them: 503 at once, and nothing is left in its queue."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from clip_core.errors import TorchServeUnavailable
from gateway.trace import current_trace
from gateway.upstream.json_client import UpstreamReply
from gateway.upstream.ready_workers import ReadyWorkers
from gateway.upstream.torchserve import QueueState, TorchServeClient
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, serving

TEXT = {"input": [{"text": "a"}]}


@pytest.fixture
def torchserve():
    return FakeTorchServe(FakeIndex())


@contextlib.asynccontextmanager
async def client_of(torchserve, inference_url=None):
    with serving(torchserve.app()) as url:
        client = TorchServeClient(inference_url or url, url, look_s=0.1)
        try:
            yield client
        finally:
            await client.close()


def test_a_call_that_hangs_ends_when_no_worker_is_ready(torchserve):
    torchserve.lets_pass, torchserve.workers = 0, "LOADING"

    async def run():
        async with client_of(torchserve) as client:
            with pytest.raises(TorchServeUnavailable, match="clip_text has no ready worker"):
                await client.predict("clip_text", TEXT)
            await asyncio.sleep(0)  # raises if the cancellation were still pending
            for _ in range(5):
                with pytest.raises(TorchServeUnavailable, match="no ready worker"):
                    await client.predict("clip_text", TEXT)
            assert len(torchserve.calls) == 1
            torchserve.lets_pass, torchserve.workers = None, "READY"
            assert (await client.predict("clip_text", TEXT))["model"] == "demo"

    asyncio.run(run())


def test_a_slow_answer_of_a_ready_worker_is_waited_for(torchserve):
    torchserve.delay_s = 0.5

    async def run():
        async with client_of(torchserve) as client:
            assert (await client.predict("clip_text", TEXT))["model"] == "demo"

    asyncio.run(run())


def test_a_call_after_a_refused_connection_asks_before_it_is_sent(torchserve):
    """The port opens again while the model still loads."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"

        async def run():
            torchserve.workers = "LOADING"
            async with client_of(torchserve, closed) as client:
                with pytest.raises(TorchServeUnavailable, match="refuses connections"):
                    await client.predict("clip_text", TEXT)
                with pytest.raises(TorchServeUnavailable, match="no ready worker"):
                    await client.predict("clip_text", TEXT)

        asyncio.run(run())


def test_without_a_management_api_calls_are_sent(torchserve):
    torchserve.failure = "worker_died"

    async def run():
        with serving(torchserve.app()) as url:
            client = TorchServeClient(url, "http://127.0.0.1:9", look_s=0.1)
            with contextlib.suppress(Exception):
                await client.predict("clip_text", TEXT)
            torchserve.failure = None
            assert (await client.predict("clip_text", TEXT))["model"] == "demo"
            await client.close()

    asyncio.run(run())


def test_a_cancelled_caller_stays_cancelled():
    async def run():
        async def ready(_):
            return False

        async def call():
            with ReadyWorkers(ready, look_s=0.01).waiting("clip_text"):
                await asyncio.sleep(30)

        task = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_callers_share_one_question_and_none_gives_it_a_deadline():
    asked = []

    async def run():
        async def ready(endpoint):
            asked.append(endpoint)
            await asyncio.sleep(0.05)
            return False

        workers = ReadyWorkers(ready)
        first = asyncio.ensure_future(workers.check("clip_text"))
        others = [asyncio.ensure_future(workers.check("clip_text")) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        answers = await asyncio.gather(*others, return_exceptions=True)
        assert all(isinstance(answer, TorchServeUnavailable) for answer in answers)

    asyncio.run(run())
    assert asked == ["clip_text"]


def test_the_gateway_answers_503_while_the_models_load(stack):
    stack.torchserve.lets_pass, stack.torchserve.workers = 0, "LOADING"
    try:
        for answer in (stack.post("/v1/embeddings", {"input": "a"}), stack.client.put("/v1/collections/k", json={})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "torchserve_unavailable")
            assert answer.headers["retry-after"] == "1"
        assert stack.client.get("/v1/collections").status_code == 200
        assert len(stack.torchserve.calls) == 1
    finally:
        stack.torchserve.lets_pass = None


async def test_many_scrapers_share_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TorchServeClient("http://127.0.0.1:9", "http://127.0.0.1:9")
    asked, told = list[bool](), asyncio.Event()

    async def describe(_: str) -> UpstreamReply:
        asked.append(current_trace().quiet)
        await told.wait()
        return UpstreamReply(200, b'[{"workers": [{"pid": 7, "status": "READY"}]}]')

    monkeypatch.setattr(client, "_describe", describe)
    scrapers = [asyncio.create_task(client.queue("clip_text")) for _ in range(50)]
    readers = [asyncio.create_task(client.worker_pids("clip_text")) for _ in range(2)]
    await asyncio.sleep(0)
    scrapers.pop(0).cancel()  # one that leaves takes nothing from the others
    await asyncio.sleep(0)
    told.set()
    assert {str(each) for each in await asyncio.gather(*scrapers)} == {str(QueueState(None, None, {"READY": 1}))}
    assert await asyncio.gather(*readers) == [[7], [7]]
    assert asked == [True]
    await client.queue("clip_text")
    assert len(asked) == 2
    await client.close()


async def test_a_question_that_fails_is_no_answer_to_all() -> None:
    client = TorchServeClient("http://127.0.0.1:9", "http://127.0.0.1:9")
    assert await asyncio.gather(*(client.queue("a") for _ in range(3))) == [None] * 3
    assert await client.worker_pids("a") == []
    await client.close()
