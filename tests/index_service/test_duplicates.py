"""Groups of items that were made from the same picture."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import httpx
import pytest

from clip_core.wire import encode_vector
from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from tests.index_service.helpers import unit_rows

DIM = 4
DUPLICATES = "/collections/c/duplicates"


def digest(letter: str) -> str:
    return letter * 64


async def add(client: httpx.AsyncClient, **metadata: dict[str, Any]) -> None:
    vector = encode_vector(unit_rows(1, DIM)[0])
    items = [{"id": id_, "vector": vector, "metadata": told} for id_, told in metadata.items()]
    answer = await client.post("/collections/c/items", json={"items": items})
    assert {one["status"] for one in answer.json()["results"]} == {200}


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    await client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": DIM})
    await add(
        client,
        a1={"digest": digest("a")},
        b1={"digest": digest("b"), "n": 1},
        a2={"digest": digest("a")},
        alone={"digest": digest("c")},
        without={},
        odd={"digest": 5},
        odder={"digest": 5, "text": '"digest"'},
        b2={"digest": digest("b")},
        a3={"digest": digest("a")},
    )
    return client


async def groups(client: httpx.AsyncClient) -> dict[str, list[str]]:
    answer = (await client.get(DUPLICATES)).json()
    assert answer["next"] is None
    assert all(group["count"] == len(group["ids"]) for group in answer["groups"])
    return {group["digest"][0]: group["ids"] for group in answer["groups"]}


async def test_items_of_the_same_picture(filled: httpx.AsyncClient) -> None:
    assert await groups(filled) == {"a": ["a1", "a2", "a3"], "b": ["b1", "b2"]}


async def test_page_by_page(filled: httpx.AsyncClient) -> None:
    first = (await filled.get(DUPLICATES, params={"limit": 1})).json()
    assert ([group["digest"] for group in first["groups"]], first["next"]) == ([digest("a")], digest("a"))
    second = (await filled.get(DUPLICATES, params={"limit": 1, "after": first["next"]})).json()
    assert ([group["digest"] for group in second["groups"]], second["next"]) == ([digest("b")], None)


async def test_every_page_leads_to_the_next(filled: httpx.AsyncClient) -> None:
    """A text that is too long to be asked for as `after` is no digest."""
    await add(filled, l1={"digest": "aa" * 300}, l2={"digest": "aa" * 300})
    after, found = "", []
    while after is not None:
        page = (await filled.get(DUPLICATES, params={"limit": 1, "after": after})).json()
        found += [group["digest"][0] for group in page["groups"]]
        after = page["next"]
    assert found == ["a", "b"]


async def test_what_is_written_and_merged_later(filled: httpx.AsyncClient, registry: Registry) -> None:
    assert len(await groups(filled)) == 2
    await add(filled, c2={"digest": digest("c")}, b1={"digest": digest("a")})
    assert await groups(filled) == {"a": ["a1", "a2", "a3", "b1"], "c": ["alone", "c2"]}
    registry.get("c").merge()
    await filled.delete("/collections/c/items/c2")
    await filled.patch("/collections/c/items/a1", json={"metadata": {"digest": None}})
    assert await groups(filled) == {"a": ["a2", "a3", "b1"]}


async def test_the_files_of_an_older_segment_are_let_go(filled: httpx.AsyncClient, registry: Registry) -> None:
    collection = registry.get("c")
    assert isinstance(collection, Collection)
    await groups(filled)
    rows = weakref.ref(collection.view.rows)
    collection.merge()
    gc.collect()
    assert rows() is None


async def test_digests_are_no_facet_unless_asked_for(filled: httpx.AsyncClient) -> None:
    await filled.patch("/collections/c/items", json={"ids": ["a1", "a2"], "metadata": {"color": "red"}})
    found = (await filled.post("/collections/c/facets", json={})).json()["facets"]
    assert [facet["field"] for facet in found] == ["color"]
    (facet,) = (await filled.post("/collections/c/facets", json={"fields": ["digest"]})).json()["facets"]
    assert facet["values"][0] == {"value": digest("a"), "count": 3}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "what=1"])
async def test_bad_queries(filled: httpx.AsyncClient, query: str) -> None:
    assert (await filled.get(f"{DUPLICATES}?{query}")).status_code == 400
    assert (await filled.get("/collections/none/duplicates")).status_code == 404
