"""What takes long keeps nobody else from being answered: each kind of work has its own threads, and a bound."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Collection, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from clip_core.wire import encode_vector
from index_service.collection import bodies
from index_service.collection.collection import Collection as Index
from index_service.collection.recall import RecallCounts, RecallSampler, Sample
from index_service.http import item_writes_api, items_api, search_api
from index_service.http.workers import Workers
from index_service.record.store import Store
from index_service.segments.view import empty_view
from index_service.snapshots.snapshot_files import Snapshots
from tests.index_service.helpers import unit_rows
from tests.index_service.test_limits import ITEM, MODEL, SEARCH, serving

VECTOR = encode_vector(unit_rows(1, 4)[0])
TURNS = 20


class Held:
    """Work that is under way until `release`."""

    def __init__(self) -> None:
        self.release, self.threads = threading.Event(), list[str]()

    def __call__(self, *_: object) -> Any:
        self.threads.append(threading.current_thread().name)
        self.release.wait(10)
        return []


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.release.set()


async def begun(client: httpx.AsyncClient, paths: list[str]) -> list[asyncio.Task[httpx.Response]]:
    calls = [
        asyncio.create_task(client.post(path, json={} if "facets" in path else {"snapshot": "x"})) for path in paths
    ]
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return calls


async def test_writes_and_searches_go_on_beside_snapshots_of_which_there_are_few(
    store: Store, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    monkeypatch.setattr(Snapshots, "create", held)
    async with serving(store, max_concurrent_copies=4) as client:
        names = [f"c{n}" for n in range(5)]
        for name in names:
            await client.put(f"/collections/{name}", json=MODEL)
        calls = await begun(client, [f"/collections/{name}/snapshots" for name in names[:4]])
        again = await client.post("/collections/c0/snapshots")
        more = await client.post("/collections/c4/snapshots")
        restore = await client.post("/collections/new/restore", json={"snapshot": "x"})
        assert [answer.status_code for answer in (again, more, restore)] == [409, 429, 429]
        assert more.headers["retry-after"] == "1"
        written = [client.post(f"/collections/{name}/items", json={"items": [ITEM]}) for name in names]
        searched = [client.post("/search", json={"searches": [{**SEARCH, "request_id": "x" * 70_000}]})] * 1
        answers = await asyncio.wait_for(asyncio.gather(*written, *searched), 5)
        assert {answer.status_code for answer in answers} == {200}
        assert len(held.threads) == 1
        held.release.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {201}
        assert (await client.post("/collections/c0/snapshots")).status_code == 201


async def test_searches_go_on_beside_facets_of_which_there_are_few(
    store: Store, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    monkeypatch.setattr(Index, "facets", held)
    async with serving(store, max_concurrent_facets=8, threads=2) as client:
        calls = await begun(client, ["/collections/c/facets"] * 8)
        assert (await client.post("/collections/c/facets", json={})).status_code == 429
        large = {"searches": [{**SEARCH, "request_id": "x" * 70_000}]}
        assert (await asyncio.wait_for(client.post("/search", json=large), 5)).status_code == 200
        assert len(held.threads) == 1
        held.release.set()
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}


async def test_large_searches_and_listings_take_turns_and_small_ones_pass_them(
    store: Store, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    usual = search_api.SearchCall.run
    monkeypatch.setattr(search_api.SearchCall, "run", lambda call, most: held() if call.large else usual(call, most))
    monkeypatch.setattr(items_api, "_listed", lambda *given: held() if given[3].entries > 10 else given[3])
    async with serving(store, threads=2) as client:
        items = [{"id": f"{n}", "vector": VECTOR, "metadata": {"t": "x" * 60_000}} for n in range(200)]
        await client.post("/collections/c/items", json={"items": items})
        large = {"searches": [{**SEARCH, "k": 200}]}
        padded = {"searches": [{**SEARCH, "k": 200, "request_id": "x" * 70_000}]}
        calls = [client.post("/search", json=body) for body in [large, padded] * 8]
        calls += [client.get("/collections/c/items?limit=200") for _ in range(8)]
        tasks = [asyncio.create_task(call) for call in calls]
        while len(set(held.threads)) < 2:
            await asyncio.sleep(0.01)
        small = {"searches": [{**SEARCH, "k": 1, "request_id": "x" * 70_000}]}
        answer = await asyncio.wait_for(client.post("/search", json=small), 5)
        assert answer.json()["results"][0]["status"] == 200
        assert len(held.threads) == 2
        for task in tasks:
            task.cancel()


async def test_only_small_searches_are_parsed_on_the_event_loop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, threads = bodies.parse_body, list[str]()

    def noted(raw: bytes, known: Collection[str]) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return parse(raw, known)

    monkeypatch.setattr(bodies, "parse_body", noted)
    loop = threading.current_thread().name
    async with serving(store) as client:
        numbers = {"n": {"$in": [*range(3000)]}}
        for method, path, body in [
            ("PUT", "/collections/d", MODEL),
            ("PUT", "/aliases/e", {"collection": "d"}),
            ("POST", "/collections/c/items", {"items": [ITEM]}),
            ("POST", "/collections/c/items/delete", {"ids": ["x"]}),
            ("POST", "/collections/c/facets", {"filter": {"a": 1}}),
            ("POST", "/collections/new/restore", {"snapshot": "x"}),
            ("POST", "/search", {"searches": [{**SEARCH, "filter": numbers}]}),
            ("POST", "/search", {"searches": [{**SEARCH, "request_id": "x" * 70_000}]}),
        ]:
            await client.request(method, path, json=body)
        assert len(threads) == 9
        assert loop not in threads
        await client.post("/search", json={"searches": [SEARCH]})
        assert threads[-1] == loop


async def test_what_takes_long_to_write_is_not_written_on_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = list[str]()
    for module in (items_api, item_writes_api, search_api):
        answer = module.json_answer

        def noted(content: Any, status: int = 200, answer: Any = answer) -> Any:
            threads.append(threading.current_thread().name)
            return answer(content, status)

        monkeypatch.setattr(module, "json_answer", noted)
    async with serving(store) as client:
        items = [{"id": f"{n}", "vector": VECTOR, "metadata": {"t": "x" * 60_000}} for n in range(300)]
        await client.post("/collections/c/items", json={"items": items})
        for path in ("/collections/c/items", "/collections/c/items?since=0", "/collections/c/items/1"):
            assert (await client.get(path)).status_code == 200
        await client.post("/search", json={"searches": [{**SEARCH, "k": 300, "include": ["metadata"]}]})
        assert len(threads) == 5
        assert threading.current_thread().name not in threads


def test_offering_samples_never_raises() -> None:
    sampler, failures = RecallSampler(1.0, seed=0), list[BaseException]()
    sample = Sample(RecallCounts(), empty_view(4), unit_rows(1, 4)[0], None, np.ones(1, np.float32))
    interval = sys.getswitchinterval()

    def offer() -> None:
        try:
            sampler.offer([sample] * 200)
        except BaseException as error:
            failures.append(error)

    sys.setswitchinterval(1e-6)
    try:
        for _ in range(50):
            sampler = RecallSampler(1.0, seed=0)
            threads = [threading.Thread(target=offer) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []


async def test_what_waits_for_another_process_keeps_no_large_work_waiting(held: Held) -> None:
    """And few of such hold large answers at once."""
    workers = Workers(2)
    calls = [asyncio.create_task(workers.large(held, listing=n % 2 == 0, waits=True)) for n in range(12)]
    for listing in (True, False):
        assert await asyncio.wait_for(workers.large(lambda: "done", listing=listing), 5) == "done"
    assert 1 <= len(held.threads) <= 4
    held.release.set()
    assert await asyncio.gather(*calls) == [[]] * 12
    workers.close()
