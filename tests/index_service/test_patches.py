"""PATCH of items: other metadata, the same vector, and everything that knows the item agrees at once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from typing import Any

import httpx
import pytest

from clip_core.errors import StorageFull
from clip_core.wire import encode_vector
from index_service.collection.collection import Collection
from index_service.collection.patches import ItemPatch, PatchBatch
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, unit_rows

DIM, N = 8, 30
ROWS = unit_rows(N, DIM)
ITEMS = "/collections/c/items"


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The collection `c` of items i00, i01, …, each with its number and a color."""
    await client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": DIM})
    items = [
        {
            "id": f"i{n:02}",
            "vector": encode_vector(ROWS[n]),
            "metadata": {"n": n, "color": "red" if n % 3 else "blue"},
            "source": {"text": f"text {n}"},
        }
        for n in range(N)
    ]
    assert (await client.post(ITEMS, json={"items": items})).status_code == 200
    return client


async def hits(client: httpx.AsyncClient, row: int, where: dict[str, Any], k: int = N) -> list[dict[str, Any]]:
    """What a search near item `row` finds under a filter."""
    search = {"collection": "c", "vector": encode_vector(ROWS[row]), "k": k, "filter": where, "include": ["metadata"]}
    (result,) = (await client.post("/search", json={"searches": [search]})).json()["results"]
    found: list[dict[str, Any]] = result["hits"]
    return found


async def test_an_item_has_other_metadata_and_the_rest_as_it_was(filled: httpx.AsyncClient) -> None:
    before = (await filled.get(f"{ITEMS}/i04?include=vector,source")).json()
    answer = await filled.patch(f"{ITEMS}/i04", json={"metadata": {"color": None, "place": {"city": "Rom"}}})
    assert (answer.status_code, answer.json()) == (200, {"id": "i04", "metadata": {"n": 4, "place": {"city": "Rom"}}})
    after = (await filled.get(f"{ITEMS}/i04?include=vector,source")).json()
    assert after == {**before, "metadata": {"n": 4, "place": {"city": "Rom"}}}
    assert (await filled.get("/collections/c")).json()["count"] == N


@pytest.mark.parametrize("form", [{"ids": ["i04"]}, {"filter": {"n": 4}}, None])
async def test_fields_that_the_caller_holds_fixed(filled: httpx.AsyncClient, form: dict[str, Any] | None) -> None:
    path = f"{ITEMS}/i04" if form is None else ITEMS
    answer = await filled.patch(f"{path}?fixed=n,none", json={**(form or {}), "metadata": {"n": 5}})
    assert "`n` is not changed by patches" in answer.text
    await filled.patch(f"{path}?fixed=n,none", json={**(form or {}), "metadata": None})
    assert (await filled.get(f"{ITEMS}/i04")).json()["metadata"] == {"n": 4}


async def test_searches_filters_and_facets_see_it_at_once(filled: httpx.AsyncClient) -> None:
    assert len(await hits(filled, 0, {"color": "blue"})) == 10
    await filled.post("/collections/c/facets", json={"fields": ["color"]})
    await filled.patch(f"{ITEMS}/i01", json={"metadata": {"color": "green"}})
    (green,) = await hits(filled, 1, {"color": "green"})
    assert (green["id"], green["metadata"]) == ("i01", {"n": 1, "color": "green"})
    assert green["score"] == pytest.approx(1, abs=1e-5)
    assert "i01" not in {hit["id"] for hit in await hits(filled, 1, {"color": "red"})}
    (facet,) = (await filled.post("/collections/c/facets", json={"fields": ["color"]})).json()["facets"]
    assert {each["value"]: each["count"] for each in facet["values"]} == {"red": 19, "blue": 10, "green": 1}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "metadata"),
        ({"metadata": []}, 400, "metadata"),
        ({"metadata": "x"}, 400, "metadata"),
        ({"metadata": {}, "vector": "x"}, 400, "vector"),
        ({"metadata": {"x": "y" * 70_000}}, 413, "metadata"),
        ({"metadata": {"a": json.loads("[" * 70 + "]" * 70)}}, 400, "metadata"),
        ({"metadata": {"x": 2**70}}, 400, "metadata"),
    ],
)
async def test_bad_patches_change_nothing(filled: httpx.AsyncClient, body: Any, status: int, param: str) -> None:
    answer = await filled.patch(f"{ITEMS}/i04", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert (await filled.get(f"{ITEMS}/i04")).json()["metadata"] == {"n": 4, "color": "red"}


async def test_an_item_that_is_not_there(filled: httpx.AsyncClient) -> None:
    answer = await filled.patch(f"{ITEMS}/nope", json={"metadata": {}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "item_not_found")
    await filled.delete(f"{ITEMS}/i04")
    assert (await filled.patch(f"{ITEMS}/i04", json={"metadata": {"a": 1}})).status_code == 404
    assert (await filled.get(f"{ITEMS}/i04")).status_code == 404


async def test_metadata_null_removes_all_of_it(filled: httpx.AsyncClient) -> None:
    assert (await filled.patch(f"{ITEMS}/i04", json={"metadata": None})).json() == {"id": "i04", "metadata": {}}


async def test_a_patch_that_changes_nothing_writes_nothing(filled: httpx.AsyncClient) -> None:
    after = f"/collections/c/items?since={(await filled.get('/collections/c')).json()['seq']}"
    assert (await filled.patch(f"{ITEMS}/i04", json={"metadata": {"n": 4}})).status_code == 200
    assert (await filled.get(after)).json()["items"] == []
    await filled.patch(f"{ITEMS}/i04", json={"metadata": {"n": 4.5}})
    assert [each["id"] for each in (await filled.get(after)).json()["items"]] == ["i04"]


async def test_many_each_with_its_own_result(filled: httpx.AsyncClient) -> None:
    patches = [
        {"id": "i01", "metadata": {"n": None}},
        {"id": "nope", "metadata": {}},
        {"id": "i02"},
        {"id": "i03", "metadata": 5},
        "what",
        {"id": 5, "metadata": {}},
        {"id": "i01", "metadata": {"again": True}},
        {"id": "i05", "metadata": {"x": "y" * 70_000}},
        {"id": "i06", "metadata": {"ok": 1}},
    ]
    answer = await filled.patch(ITEMS, json={"items": patches})
    results = answer.json()["results"]
    assert [one["status"] for one in results] == [200, 404, 400, 400, 400, 400, 200, 413, 200]
    assert [one["id"] for one in results] == ["i01", "nope", "i02", "i03", None, None, "i01", "i05", "i06"]
    assert (await filled.get(f"{ITEMS}/i01")).json()["metadata"] == {"color": "red", "again": True}
    assert (await filled.get(f"{ITEMS}/i06")).json()["metadata"] == {"n": 6, "color": "blue", "ok": 1}
    assert (await filled.get(f"{ITEMS}/i03")).json()["metadata"] == {"n": 3, "color": "blue"}


async def test_one_patch_for_many_ids(filled: httpx.AsyncClient) -> None:
    answer = await filled.patch(ITEMS, json={"ids": ["i01", "nope", "i02"], "metadata": {"album": "x"}})
    assert [one["status"] for one in answer.json()["results"]] == [200, 404, 200]
    assert {hit["id"] for hit in await hits(filled, 0, {"album": "x"})} == {"i01", "i02"}


async def test_what_a_filter_names_page_by_page(filled: httpx.AsyncClient) -> None:
    body = {"filter": {"color": "blue"}, "metadata": {"color": "green"}, "limit": 4}
    updated, after = [], None
    while True:
        page = (await filled.patch(ITEMS, json={**body, "after": after})).json()
        updated.append(page["updated"])
        assert page["failed"] == []
        after = page["next"]
        if after is None:
            break
    assert updated == [4, 4, 2]
    assert await hits(filled, 0, {"color": "blue"}) == []
    assert len(await hits(filled, 0, {"color": "green"})) == 10


async def test_of_a_page_too_those_that_fail_are_named(filled: httpx.AsyncClient) -> None:
    assert (await filled.patch(f"{ITEMS}/i03", json={"metadata": {"long": "x" * 60_000}})).status_code == 200
    body = {"filter": {"color": "blue"}, "metadata": {"more": "y" * 10_000}}
    page = (await filled.patch(ITEMS, json=body)).json()
    assert (page["updated"], page["next"]) == (9, None)
    assert [(one["id"], one["status"]) for one in page["failed"]] == [("i03", 413)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "items"),
        ({"metadata": {}}, "items"),
        ({"items": [], "ids": []}, "ids"),
        ({"items": [], "metadata": {}}, "metadata"),
        ({"items": {}}, "items"),
        ({"ids": ["a"]}, "metadata"),
        ({"filter": {}, "metadata": {}}, "filter"),
        ({"filter": {"a": 1}}, "metadata"),
        ({"filter": {"$a": 1}, "metadata": {}}, "filter"),
        ({"filter": {"a": 1}, "metadata": {}, "limit": 51}, "limit"),
        ({"filter": {"a": 1}, "metadata": {}, "after": 3}, "after"),
        ({"ids": ["a"], "metadata": {}, "after": "b"}, "after"),
    ],
)
async def test_bad_calls(filled: httpx.AsyncClient, body: Any, param: str) -> None:
    answer = await filled.patch(ITEMS, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


async def test_too_many_for_one_call(filled: httpx.AsyncClient) -> None:
    assert (await filled.patch(ITEMS, json={"ids": ["i01"] * 51, "metadata": {}})).status_code == 413


async def test_a_snapshot_has_what_was_patched(filled: httpx.AsyncClient) -> None:
    await filled.patch(f"{ITEMS}/i04", json={"metadata": {"color": "black"}})
    made = (await filled.post("/collections/c/snapshots")).json()["name"]
    await filled.patch(f"{ITEMS}/i04", json={"metadata": {"color": "white"}})
    assert (await filled.post("/collections/d/restore", json={"snapshot": made})).status_code == 201
    assert (await filled.get("/collections/d/items/i04")).json()["metadata"] == {"n": 4, "color": "black"}


def patch(collection: Collection, id_: str, metadata: dict[str, Any] | None) -> PatchBatch:
    batch = PatchBatch([ItemPatch(id_, metadata)], None, 65536)
    collection.patch(batch)
    return batch


@pytest.fixture
def collection(registry: Registry) -> Collection:
    made, _ = registry.create(CollectionInfo("c", "m", "f", DIM))
    made.upsert([item(f"i{n:02}", ROWS[n], {"n": n}) for n in range(N)], ROWS)
    return made


def shown(collection: Collection) -> dict[str, Any]:
    """id → metadata as searches see them, after checking that each is found by its own vector."""
    view = collection.view
    places = view.search(ROWS, 1, None, True)[1][:, 0].tolist()
    found = {view.rows.ids[row]: json.loads(view.rows.metadata[row]) for row in places}
    assert list(found) == [f"i{n:02}" for n in range(N)]
    return found


def test_patches_during_a_merge_are_in_what_it_makes(collection: Collection) -> None:
    begun, patched = threading.Event(), threading.Event()

    def cancelled() -> bool:
        begun.set()
        assert patched.wait(10)
        return False

    merging = threading.Thread(target=collection.merge, args=(cancelled,))
    merging.start()
    assert begun.wait(10)
    patch(collection, "i03", {"during": True})
    patched.set()
    merging.join()
    assert len(collection.view.rows.main.vectors) == N
    assert shown(collection)["i03"] == {"n": 3, "during": True}
    collection.merge()
    assert collection.view.count == N
    assert shown(collection)["i03"] == {"n": 3, "during": True}


def test_a_restart_shows_what_was_patched(collection: Collection, store: Store, settings: IndexSettings) -> None:
    collection.merge()
    patch(collection, "i03", {"x": 1})
    patch(collection, "i03", {"y": 2})
    again = Registry(store, settings)
    again.load()
    assert shown(again.get("c")) == shown(collection)
    assert shown(again.get("c"))["i03"] == {"n": 3, "x": 1, "y": 2}


def test_a_sequence_number_is_never_used_twice(collection: Collection) -> None:
    patch(collection, "i03", {"x": 1})
    collection.delete(["i03"])
    collection.upsert([item("new", ROWS[3])], ROWS[3:4])
    assert collection.since(N, 10).seqs == [N + 2]


def test_a_replacement_wins_over_the_patch_before_it(collection: Collection) -> None:
    patch(collection, "i03", {"x": 1})
    collection.upsert([item("i03", ROWS[3], {"fresh": True})], ROWS[3:4])
    assert json.loads(collection.get("i03").metadata) == {"fresh": True}
    patch(collection, "i03", {"x": 2})
    assert json.loads(collection.get("i03").metadata) == {"fresh": True, "x": 2}


def test_patches_of_many_callers_lose_nothing(collection: Collection) -> None:
    """Each sets a field of its own on the same item, while others replace and delete a neighbour."""

    def run(worker: int) -> None:
        for turn in range(10):
            patch(collection, "i03", {f"w{worker}-{turn}": turn})
            if worker % 2:
                collection.upsert([item("i04", ROWS[4], {"n": 4})], ROWS[4:5])
            else:
                assert patch(collection, "i04", {"w": worker}).results[0] is not None

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shown(collection)["i03"] == {"n": 3, **{f"w{w}-{t}": t for w in range(6) for t in range(10)}}


def test_a_filter_looks_at_the_item_as_it_is_by_then(collection: Collection) -> None:
    batch = PatchBatch(
        [ItemPatch("i03", {"n": 99}), ItemPatch("gone", {}), ItemPatch("i04", {"n": 99})], b'{"n":3}', 99
    )
    collection.patch(batch)
    assert batch.results == [b'{"n":99}', None, None]


def test_a_disk_that_fills_up(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("index_service.record.rows.patch", full)
    with pytest.raises(StorageFull):
        patch(collection, "i03", {"x": 1})
    monkeypatch.undo()
    assert shown(collection)["i03"] == {"n": 3}
    patch(collection, "i03", {"x": 1})
    assert shown(collection)["i03"] == {"n": 3, "x": 1}


async def test_calls_at_once(filled: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(filled.patch(f"{ITEMS}/i07", json={"metadata": {f"f{n}": n}}) for n in range(20)),
        *(filled.patch(ITEMS, json={"ids": ["i07", "i08"], "metadata": {f"g{n}": n}}) for n in range(10)),
    )
    assert {answer.status_code for answer in answers} == {200}
    metadata = (await filled.get(f"{ITEMS}/i07")).json()["metadata"]
    assert len(metadata) == 2 + 20 + 10
