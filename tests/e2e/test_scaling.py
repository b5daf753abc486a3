"""A real TorchServe whose workers a real scaler sets: to zero and back, and without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.scaler.live.stack import ENDPOINT, WaitingStack, waiting_stack
from scaler.actuators.torchserve import TorchServeWorkers, WorkerCount
from tests.waiting import until

pytestmark = pytest.mark.e2e
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WaitingStack]:
    with waiting_stack(tmp_path_factory.mktemp("waiting"), workers=2) as stack:
        yield stack


def count(stack: WaitingStack) -> WorkerCount:
    async def ask() -> WorkerCount:
        async with TorchServeWorkers(stack.management) as workers:
            return await workers.count(ENDPOINT)

    return asyncio.run(ask())


def scale(stack: WaitingStack, size: int) -> None:
    async def ask() -> None:
        async with TorchServeWorkers(stack.management) as workers:
            await workers.scale(ENDPOINT, size)

    asyncio.run(ask())


async def _has(workers: TorchServeWorkers, size: int) -> None:
    while (await workers.count(ENDPOINT)) != WorkerCount(size, size):
        await asyncio.sleep(0.1)


def embed(stack: WaitingStack, text: str) -> httpx.Response:
    return httpx.post(f"{stack.gateway}/v1/embeddings", json={"input": text}, timeout=60)


def test_workers_come_and_go_under_load_and_no_request_fails(waiting: WaitingStack) -> None:
    async def client(texts: Iterator[int], stop: asyncio.Event) -> list[int]:
        statuses = []
        async with httpx.AsyncClient(base_url=waiting.gateway, timeout=60) as http:
            while not stop.is_set():
                answer = await http.post("/v1/embeddings", json={"input": f"text {next(texts)}"})
                statuses.append(answer.status_code)
        return statuses

    async def run() -> list[int]:
        texts, stop = iter(range(10**6)), asyncio.Event()
        async with TorchServeWorkers(waiting.management) as workers:
            clients = [asyncio.create_task(client(texts, stop)) for _ in range(4)]
            for size in (3, 1, 2):
                await workers.scale(ENDPOINT, size)
                await asyncio.wait_for(_has(workers, size), PATIENCE_S)
            stop.set()
            return [status for each in await asyncio.gather(*clients) for status in each]

    statuses = asyncio.run(run())
    assert set(statuses) == {200}
    assert len(statuses) > 20


def test_to_zero_and_back_answers_every_request(waiting: WaitingStack, tmp_path: Path) -> None:
    replicas = {"min_replicas": 0, "max_replicas": 2, "scale_to_zero_after_s": 1.0}
    waiting.start_scaler(**replicas, stabilization_window_s=0, poll_interval_s=0.5, data_dir=tmp_path)
    assert embed(waiting, "before").status_code == 200
    until(lambda: count(waiting).wanted == 0, PATIENCE_S)
    assert httpx.get(f"{waiting.gateway}/healthz").status_code == 200
    answer = embed(waiting, "the first after zero")
    assert answer.status_code == 200 or (answer.status_code == 503 and "Retry-After" in answer.headers)
    until(lambda: embed(waiting, "again").status_code == 200, PATIENCE_S)  # by a worker that was started for it


def test_a_killed_scaler_takes_no_worker_with_it(waiting: WaitingStack) -> None:
    scaler = next(part for part in waiting.parts.parts if part.name == "scaler")
    scaler.kill()
    scale(waiting, 2)
    until(lambda: count(waiting) == WorkerCount(2, 2), PATIENCE_S)
    waiting.parts.parts.remove(scaler)
    scaler.close()
    assert embed(waiting, "after").status_code == 200
