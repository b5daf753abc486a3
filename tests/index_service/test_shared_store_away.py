"""Beside a shared store that is away, what is in the embedded one is answered, and nothing is silently left out."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from clip_core.errors import Unavailable
from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.collection.stored import Gauges
from index_service.http.workers import Workers
from index_service.http.write_holds import WriteHolds
from index_service.record.records import CollectionInfo
from index_service.record.store import Store
from index_service.search.parsing import parse_call
from index_service.settings import IndexSettings
from tests.index_service.helpers import unit_rows

ROW = encode_vector(unit_rows(1, 4)[0])
MODEL = {"model": "m", "fingerprint": "f", "dim": 4}
SEARCH = {"vector": ROW, "k": 1}
AWAY = "Milvus can't be reached"


class Far:
    """A collection of the shared store."""

    info = CollectionInfo("far", "m", "f", 4, store="milvus")
    waits, most_metadata = True, None

    def describe(self) -> Any:
        raise Unavailable(AWAY)

    def gauges(self) -> Gauges:
        return Gauges(None)

    def search(self, *_: object) -> Any:
        raise Unavailable(AWAY)

    def answer_bytes(self, *_: object) -> int:
        return 100

    def search_cost(self, *_: object) -> int:
        return 10**9


class Away:
    """A `CollectionStore` that was asked once, and is away now."""

    def __init__(self) -> None:
        self.in_time_s, self.held_now, self.knows_at = 1.0, False, time.monotonic()
        self.far: Any = Far()

    def find(self, name: str, _: str | None = None) -> Any:
        return self.far if name == "far" else None

    def unseen(self, _: str) -> bool:
        raise Unavailable(AWAY)

    def noted(self, name: str) -> bool:
        return name == "before"

    def look_again(self, _: str) -> None:
        raise Unavailable(AWAY)

    def drop_alias(self, _: str) -> bool:
        raise Unavailable(AWAY)

    def all(self) -> list[Any]:
        return [self.far]

    def aliases(self) -> dict[str, str]:
        return {"shared": "far"}

    def missing(self) -> str | None:
        return AWAY

    def held(self, _: str) -> bool:
        return self.held_now

    def known_at(self) -> float:
        return self.knows_at

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def away() -> Away:
    return Away()


@pytest.fixture
def registry(store: Store, settings: IndexSettings, away: Away) -> Registry:
    registry = Registry(store, settings, away)  # type: ignore[arg-type]
    registry.load()
    return registry


@pytest.fixture
async def client(client: httpx.AsyncClient) -> httpx.AsyncClient:
    assert (await client.put("/collections/own", json=MODEL)).status_code == 201
    body = {"items": [{"id": "a", "vector": ROW}]}
    assert (await client.post("/collections/own/items", json=body)).status_code == 200
    return client


async def searched(client: httpx.AsyncClient, *names: str) -> list[int]:
    answer = await client.post("/search", json={"searches": [{**SEARCH, "collection": name} for name in names]})
    return [answer.status_code, *(result["status"] for result in answer.json().get("results", []))]


async def test_searches_of_one_call_are_answered_each_by_itself(client: httpx.AsyncClient) -> None:
    assert await searched(client, "own", "far", "own", "unheard-of") == [200, 200, 503, 200, 503]
    assert await searched(client, "far", "far") == [503]
    assert await searched(client, "unheard-of") == [503]


def test_calls_that_wait_are_large_by_their_answers_alone(registry: Registry) -> None:
    """Each of many filters is a search of its own there, and takes no core here."""
    searches = [{**SEARCH, "collection": "far", "filter": {"n": n}} for n in range(50)]
    call = parse_call(searches, None, registry)
    assert (call.waits, call.cost > 20 * 10**9, call.large) == (True, True, False)


async def test_a_list_says_that_it_is_not_whole(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/collections")).json()
    assert [each["name"] for each in answer["collections"]] == ["own"]
    assert AWAY in answer["incomplete"]
    assert "clipserve_index_milvus_up 0.0" in (await client.get("/metrics")).text


async def test_embedded_collections_and_their_aliases_are_changed(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await client.put("/aliases/live", json={"collection": "own"})).status_code == 200
    assert (await client.delete("/aliases/live")).status_code == 200
    assert (await client.put("/aliases/shared", json={"collection": "own"})).status_code == 503
    assert (await client.delete("/aliases/shared")).status_code == 503
    assert (await client.get("/aliases")).json() == {"aliases": [{"name": "shared", "collection": "far"}]}
    assert (await client.put("/collections/other", json=MODEL)).status_code == 201
    assert (await client.put("/collections/before", json=MODEL)).status_code == 503  # else it would hide the other one
    assert (await client.put("/aliases/before", json={"collection": "own"})).status_code == 503
    assert (await client.put("/collections/own", json=MODEL)).status_code == 200


async def test_a_write_that_took_long_is_not_acknowledged_where_it_may_be_late(
    client: httpx.AsyncClient, registry: Registry, away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client is not None
    holds, looks = WriteHolds(registry, Workers(1)), list[str]()
    monkeypatch.setattr(away, "look_again", looks.append)

    async def write(knows_at: float, held: bool) -> None:
        away.knows_at, away.held_now = knows_at, False
        async with holds.writing(lambda: registry.get("far")):
            away.held_now = held

    await write(time.monotonic(), True)
    assert looks == []
    await write(time.monotonic() - 2, False)
    assert looks == ["far"]
    with pytest.raises(Unavailable, match="send it again"):
        await write(time.monotonic() - 2, True)
    away.held_now = False
    with pytest.raises(Unavailable, match="send it again"):
        async with holds.writing(lambda: registry.get("far")):
            away.far = Far()  # in the place of the first
