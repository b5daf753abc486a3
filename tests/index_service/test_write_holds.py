"""Writes that are held back while a collection is replaced: none is lost, none is late, and none waits for ever."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from clip_core.errors import Unavailable
from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.http.workers import Workers
from index_service.http.write_holds import WriteHolds
from tests.index_service.helpers import unit_rows

ROW = encode_vector(unit_rows(1, 4)[0])
MODEL = {"model": "m", "fingerprint": "f", "dim": 4}


@pytest.fixture
async def client(client: httpx.AsyncClient) -> httpx.AsyncClient:
    for name in ("old", "new"):
        assert (await client.put(f"/collections/{name}", json=MODEL)).status_code == 201
    assert (await client.put("/aliases/live", json={"collection": "old"})).status_code == 200
    return client


def write(client: httpx.AsyncClient, collection: str, id_: str) -> asyncio.Task[httpx.Response]:
    body = {"items": [{"id": id_, "vector": ROW}]}
    return asyncio.create_task(client.post(f"/collections/{collection}/items", json=body))


async def ids(client: httpx.AsyncClient, collection: str) -> list[str]:
    return [item["id"] for item in (await client.get(f"/collections/{collection}/items")).json()["items"]]


async def test_a_held_write_goes_to_where_its_name_leads_afterwards(client: httpx.AsyncClient) -> None:
    await write(client, "live", "a")
    held = await client.put("/collections/old/hold", json={"seconds": 30})
    assert held.json() == {"seconds": 30, "known_s": 0.0}
    by_alias, by_name, elsewhere = (write(client, name, "b") for name in ("live", "old", "new"))
    deleting = asyncio.create_task(client.delete("/collections/old/items/a"))
    patching = asyncio.create_task(client.patch("/collections/old/items/a", json={"metadata": {"x": 1}}))
    assert (await elsewhere).status_code == 200
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in (by_alias, by_name, deleting, patching))
    assert await ids(client, "old") == ["a"]
    await client.put("/aliases/live", json={"collection": "new"})
    assert (await by_alias).status_code == 200
    assert not by_name.done()
    assert (await client.delete("/collections/old/hold")).json() == {"held": True}
    assert [task.status_code for task in await asyncio.gather(by_name, deleting, patching)][:2] == [200, 200]
    assert await ids(client, "new") == ["b"]
    assert await ids(client, "old") == ["b"]
    assert (await client.delete("/collections/old/hold")).json() == {"held": False}


async def test_it_begins_when_the_writes_under_way_have_ended(
    client: httpx.AsyncClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection: Any = registry.get("old")
    upsert = collection.upsert

    def slow(*given: Any) -> None:
        time.sleep(0.3)
        upsert(*given)

    monkeypatch.setattr(collection, "upsert", slow)
    writing = write(client, "old", "a")
    await asyncio.sleep(0.1)
    await client.put("/collections/old/hold", json={"seconds": 30})
    assert await ids(client, "old") == ["a"]
    assert (await writing).status_code == 200


async def test_nobody_else_holds_them_meanwhile(client: httpx.AsyncClient) -> None:
    """Else whoever ends first lets go for both."""
    await client.put("/collections/old/hold", json={"seconds": 30})
    for body in ({}, {"owner": "me"}):
        assert (await client.put("/collections/old/hold", json=body)).status_code == 409
    assert (await client.delete("/collections/old/hold")).json() == {"held": True}
    assert (await client.put("/collections/old/hold", json={"seconds": 30})).status_code == 200


async def test_it_ends_by_itself(client: httpx.AsyncClient) -> None:
    await client.put("/collections/old/hold", json={"seconds": 1})
    started = time.monotonic()
    assert (await write(client, "old", "a")).status_code == 200
    assert 0.5 < time.monotonic() - started < 5
    assert (await client.delete("/collections/old/hold")).json() == {"held": False}


async def test_neither_a_write_nor_the_hold_waits_for_long(client: httpx.AsyncClient, registry: Registry) -> None:
    assert client is not None
    holds, old = WriteHolds(registry, Workers(1), patience_s=0.05), registry.get("old")
    async with holds.writing(lambda: old):
        with pytest.raises(Unavailable, match="did not end within 1 s"):
            await holds.begin(old, 1)
    await holds.begin(old, 30)
    with pytest.raises(Unavailable, match="send them again"):
        async with holds.writing(lambda: old):
            pytest.fail("it was held")


@pytest.mark.parametrize("body", [{"seconds": 0}, {"seconds": 61}, {"seconds": "1"}, {"second": 1}], ids=str)
async def test_what_can_not_be_held(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.put("/collections/old/hold", json=body)).status_code == 400
    assert (await client.put("/collections/none/hold", json={})).status_code == 404
    assert (await write(client, "old", "a")).status_code == 200
