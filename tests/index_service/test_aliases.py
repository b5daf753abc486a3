"""Aliases: a second name that is pointed elsewhere at once, and never leads nowhere."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from benchmarks.lib.repeating import repeating
from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from index_service.search.parsing import parse_call
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, unit_rows

VECTORS = unit_rows(4, 8)


async def make(client: httpx.AsyncClient, name: str, fingerprint: str) -> None:
    described = {"model": "m", "fingerprint": fingerprint, "dim": 8}
    assert (await client.put(f"/collections/{name}", json=described)).status_code == 201
    body = {"fingerprint": fingerprint, "items": [{"id": f"in-{name}", "vector": encode_vector(VECTORS[0])}]}
    assert (await client.post(f"/collections/{name}/items", json=body)).status_code == 200


async def point(client: httpx.AsyncClient, alias: str, target: str) -> httpx.Response:
    return await client.put(f"/aliases/{alias}", json={"collection": target})


async def search(client: httpx.AsyncClient, fingerprint: str | None) -> dict[str, Any]:
    one = {"collection": "live", "vector": encode_vector(VECTORS[0]), "k": 1}
    answer = await client.post("/search", json={"fingerprint": fingerprint, "searches": [one]})
    result: dict[str, Any] = answer.json()["results"][0]
    return result


async def test_an_alias_serves_as_the_name_of_its_collection(client: httpx.AsyncClient) -> None:
    await make(client, "old", "f1")
    assert (await point(client, "live", "old")).json() == {"name": "live", "collection": "old"}
    assert (await client.get("/aliases")).json() == {"aliases": [{"name": "live", "collection": "old"}]}
    assert (await search(client, "f1"))["hits"][0]["id"] == "in-old"
    assert (await client.get("/collections/live")).json()["name"] == "old"
    assert (await client.get("/collections/live/items/in-old")).status_code == 200
    assert (await client.delete("/aliases/live")).json() == {"deleted": True}
    assert (await search(client, "f1"))["status"] == 404
    assert (await client.delete("/aliases/live")).status_code == 404
    assert (await client.get("/collections/old")).json()["count"] == 1


async def test_after_a_switch_each_model_finds_its_own_collection(client: httpx.AsyncClient) -> None:
    await make(client, "old", "f1")
    await make(client, "new", "f2")
    await point(client, "live", "old")
    await point(client, "live", "new")
    for fingerprint, name in (("f2", "in-new"), ("f1", "in-old"), (None, "in-new")):
        assert (await search(client, fingerprint))["hits"][0]["id"] == name
    assert (await search(client, "f3"))["status"] == 409
    body = {"fingerprint": "f1", "items": [{"id": "late", "vector": encode_vector(VECTORS[1])}]}
    assert (await client.post("/collections/live/items", json=body)).status_code == 409  # writes go to the new one only
    assert (await client.delete("/collections/old")).status_code == 200
    assert (await search(client, "f1"))["status"] == 409


async def test_names_mean_one_thing(client: httpx.AsyncClient) -> None:
    await make(client, "old", "f1")
    await point(client, "live", "old")
    described = {"model": "m", "fingerprint": "f1", "dim": 8}
    refused = [
        (await client.put("/collections/live", json=described), 409),
        (await point(client, "old", "old"), 409),
        (await client.delete("/collections/old"), 409),
        (await client.delete("/collections/live"), 409),
        (await point(client, "other", "none"), 404),
        (await point(client, ".x", "old"), 400),
        (await client.put("/aliases/x", json={}), 400),
    ]
    for answer, status in refused:
        assert answer.status_code == status, answer.text
    await point(client, "second", "live")
    assert (await client.get("/aliases")).json()["aliases"][1] == {"name": "second", "collection": "old"}


def test_aliases_survive_a_restart(store: Store, registry: Registry) -> None:
    for name, fingerprint in (("old", "f1"), ("new", "f2")):
        registry.create(CollectionInfo(name, "m", fingerprint, 8))
    registry.set_alias("live", "old")
    registry.set_alias("live", "new")
    again = Registry(store, IndexSettings())
    again.load()
    assert again.get("live").info.name == "new"
    assert again.get("live", "f1").info.name == "old"
    again.drop_alias("live")
    assert store.aliases() == []


def test_the_searches_of_a_call_are_never_answered_by_two_collections(registry: Registry) -> None:
    for name in ("old", "new"):
        collection, _ = registry.create(CollectionInfo(name, "m", "f", 8))
        collection.upsert([item(name, VECTORS[0])], VECTORS[:1])
    registry.set_alias("live", "old")

    def switch() -> None:
        for name in ("new", "old"):
            registry.set_alias("live", name)

    body = {"collection": "live", "vector": encode_vector(np.array(VECTORS[0])), "k": 1}
    seen = set()
    with repeating(switch):
        for _ in range(300):
            results, _ = parse_call([body] * 20, "f", registry).run(1_000_000)
            names = {result["hits"][0]["id"] for result in results if result is not None}
            assert len(names) == 1
            seen |= names
    assert seen == {"old", "new"}


@pytest.mark.parametrize("source", [{"text": "a red circle"}, {"image": "https://example.com/1.jpg"}, None])
async def test_an_item_remembers_its_source(client: httpx.AsyncClient, source: dict[str, str] | None) -> None:
    await make(client, "c", "f")
    items = [{"id": "a", "vector": encode_vector(VECTORS[1]), "source": source}]
    await client.post("/collections/c/items", json={"fingerprint": "f", "items": items})
    shown = (await client.get("/collections/c/items/a", params={"include": "source"})).json()
    assert shown == {"id": "a", "metadata": {}, "source": source}


@pytest.mark.parametrize("source", ["a", {}, {"text": ""}, {"text": 1}, {"url": "x"}, {"text": "a", "image": "b"}])
async def test_a_bad_source_is_the_items_error(client: httpx.AsyncClient, source: object) -> None:
    await make(client, "c", "f")
    items = [{"id": "a", "vector": encode_vector(VECTORS[1]), "source": source}]
    answer = await client.post("/collections/c/items", json={"fingerprint": "f", "items": items})
    (result,) = answer.json()["results"]
    assert (result["status"], result["error"]["param"]) == (400, "source")


async def test_items_are_followed_in_the_order_of_writing(client: httpx.AsyncClient) -> None:
    await make(client, "c", "f")
    for id_ in ("b", "a", "in-c"):
        items = [{"id": id_, "vector": encode_vector(VECTORS[1])}]
        await client.post("/collections/c/items", json={"fingerprint": "f", "items": items})
    first = (await client.get("/collections/c/items", params={"since": 0, "limit": 2})).json()
    assert [item["id"] for item in first["items"]] == ["b", "a"]
    assert first["next"] == first["items"][-1]["seq"]
    rest = (await client.get("/collections/c/items", params={"since": first["next"], "include": "vector"})).json()
    assert [item["id"] for item in rest["items"]] == ["in-c"]
    assert (rest["next"], "vector" in rest["items"][0]) == (None, True)
    for since in ("-1", "x", str(2**63)):
        assert (await client.get("/collections/c/items", params={"since": since})).status_code == 400
