"""Collections in Milvus: written, read, followed and searched by replicas that share nothing but Milvus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from clip_core.errors import Conflict, InvalidRequest, TooLarge, Unavailable, UnknownCollection, UnknownItem
from clip_core.wire import encode_vector
from index_service.collection.registry import Registry, UnseenCollection
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.catalogue.connect import shared_store
from index_service.milvus.schema import Names
from index_service.record.records import CollectionInfo
from index_service.record.store import Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import http_of, item, unit_rows

pytestmark = pytest.mark.xdist_group("milvus")

DIM, N = 8, 120
ROWS = unit_rows(N, DIM)
MODEL = {"model": "m", "fingerprint": "f", "dim": DIM}


def seen(registry: Registry, name: str) -> Any:
    """As a route finds it."""
    try:
        return registry.get(name)
    except UnseenCollection:
        registry.look_again(name)
        return registry.get(name)


@pytest.mark.parametrize("name", ["a", "A-b_c", "a_-_-", "0", "a_u", "a-h"])
def test_names_come_back(name: str) -> None:
    names = Names("our_prefix")
    for make, kind in ((names.collection, "c"), (names.alias, "a"), (names.previous, "p"), (names.hidden, "h")):
        assert names.read(make(name)) == (kind, name)
    for other in ("our_prefix_0123", "other_store_c_a", "our_prefix_store_x_a", make(name) + "-"):
        assert names.read(other) is None


async def test_a_collection_from_end_to_end(client: httpx.AsyncClient) -> None:
    created = await client.put("/collections/c", json={**MODEL, "metadata": {"made": [1, "ä"]}})
    assert (created.status_code, created.json()["store"], created.json()["metadata"]) == (
        201,
        "milvus",
        {"made": [1, "ä"]},
    )
    assert (await client.put("/collections/c", json=MODEL)).status_code == 200
    metadata = [{"n": n, "color": "red" if n % 3 else "blue", "big": 2**64 - 1, "f": 1.0} for n in range(N)]
    items = [
        {"id": f"i{n:03}", "vector": encode_vector(ROWS[n]), "metadata": metadata[n], "source": {"text": f"ü{n}"}}
        for n in range(N)
    ]
    for start in range(0, N, 40):
        answer = await client.post(
            "/collections/c/items", json={"fingerprint": "f", "items": items[start : start + 40]}
        )
        assert {one["status"] for one in answer.json()["results"]} == {200}
    one = (await client.get("/collections/c/items/i007?include=vector,source&consistency=strong")).json()
    assert one == {"id": "i007", "vector": items[7]["vector"], "metadata": metadata[7], "source": {"text": "ü7"}}
    search = {
        "collection": "c",
        "vector": items[5]["vector"],
        "k": 4,
        "filter": {"color": "blue"},
        "consistency": "strong",
    }
    (result,) = (await client.post("/search", json={"searches": [search]})).json()["results"]
    expected = sorted((n for n in range(N) if not n % 3), key=lambda n: -float(ROWS[n] @ ROWS[5]))[:4]
    assert [hit["metadata"]["n"] for hit in result["hits"]] == expected
    patched = await client.patch("/collections/c/items/i003", json={"metadata": {"color": "green", "n": None}})
    assert patched.json()["metadata"] == {"color": "green", "big": 2**64 - 1, "f": 1.0}
    (facet,) = (await client.post("/collections/c/facets", json={"fields": ["color"]})).json()["facets"]
    assert {each["value"]: each["count"] for each in facet["values"]} == {"red": 80, "blue": 39, "green": 1}
    deleted = await client.post("/collections/c/items/delete", json={"filter": {"color": {"$ne": "red"}}})
    assert deleted.json() == {"deleted": 40}
    assert (await client.get("/collections/c")).json()["count"] == 80
    listed, after = [], ""
    while after is not None:
        page = (await client.get("/collections/c/items", params={"limit": 13, "after": after})).json()
        listed, after = [*listed, *(each["id"] for each in page["items"])], page["next"]
    assert listed == [f"i{n:03}" for n in range(N) if n % 3]
    assert (await client.put("/aliases/live", json={"collection": "c"})).status_code == 200
    assert (await client.get("/collections/live")).json()["name"] == "c"
    assert (await client.delete("/collections/c")).status_code == 409
    assert (await client.delete("/aliases/live")).status_code == 200
    assert (await client.delete("/collections/c")).status_code == 200
    assert (await client.get("/collections/c")).status_code == 404


async def test_what_one_replica_acknowledged_another_reads(
    registry: Registry, replica: Callable[[], Registry], settings: IndexSettings
) -> None:
    other = replica()
    async with http_of(settings, registry) as one, http_of(settings, other) as two:
        assert (await one.put("/collections/c", json=MODEL)).status_code == 201
        for n in range(20):
            body = {"items": [{"id": f"i{n}", "vector": encode_vector(ROWS[n]), "metadata": {"n": n}}]}
            assert (await one.post("/collections/c/items", json=body)).status_code == 200
            search = {"collection": "c", "vector": encode_vector(ROWS[n]), "k": 1, "consistency": "strong"}
            (result,) = (await two.post("/search", json={"searches": [search]})).json()["results"]
            assert result["hits"][0]["id"] == f"i{n}"
            one, two = two, one


async def test_a_call_with_many_strong_searches_waits_for_one_moment(
    client: httpx.AsyncClient, catalogue: MilvusCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.put("/collections/c", json=MODEL)).status_code == 201
    items = [{"id": f"i{n}", "vector": encode_vector(ROWS[n]), "metadata": {"n": n}} for n in range(8)]
    assert (await client.post("/collections/c/items", json={"items": items})).status_code == 200
    asked, usual = Counter[str](), catalogue._rpc.call

    def counted(method: str, *given: Any) -> Any:
        asked[method] += 1
        return usual(method, *given)

    monkeypatch.setattr(catalogue._rpc, "call", counted)
    for _ in range(2):
        asked.clear()
        searches = [
            {"collection": "c", "vector": items[0]["vector"], "k": 1, "filter": {"n": n}, "consistency": "strong"}
            for n in range(8)
        ]
        results = (await client.post("/search", json={"searches": searches})).json()["results"]
        assert [hit["id"] for result in results for hit in result["hits"]] == [f"i{n}" for n in range(8)]
        assert (asked["AllocTimestamp"], asked["Search"]) == (1, 8)


def test_an_alias_switched_by_one_replica_is_known_to_another(
    registry: Registry, replica: Callable[[], Registry]
) -> None:
    other = replica()
    for name in ("old", "new"):
        registry.create(CollectionInfo(name, "m", name, DIM, store="milvus"))
    registry.set_alias("live", "old")
    assert seen(other, "live").info.name == "old"
    registry.set_alias("live", "new")
    other.look_again("live")
    assert other.get("live").info.name == "new"
    assert other.get("live", "old").info.name == "old"  # for searches by the model before
    assert other.aliases() == {"live": "new"}
    registry.drop("old")
    with pytest.raises(UnknownCollection):  # until it looks again
        other.get("live", "old").get("none")
    other.look_again("live")
    with pytest.raises(UnknownItem):
        other.get("live", "old").get("none")
    with pytest.raises(UnknownCollection):
        seen(other, "none")


def test_the_order_of_writing_is_followed_across_replicas(registry: Registry, replica: Callable[[], Registry]) -> None:
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM, store="milvus"))
    second = seen(replica(), "c")
    written: list[str] = []
    for start in range(0, 60, 20):
        writer = (collection, second)[start % 40 // 20]
        writer.upsert([item(f"i{n}", ROWS[n]) for n in range(start, start + 20)], ROWS[start : start + 20])
        written += [f"i{n}" for n in range(start, start + 20)]
    collection.upsert([item("i5", ROWS[5])], ROWS[5:6])
    written.remove("i5")
    written.append("i5")
    followed, seq = [], 0
    while chunk := second.since(seq, 7):
        if not chunk.items:
            break
        assert chunk.seqs == sorted(set(chunk.seqs))
        followed, seq = [*followed, *(each.id for each in chunk.items)], chunk.seqs[-1]
    assert followed == written
    assert second.since(int(collection.describe()["seq"]), 7).items == []


def test_a_snapshot_has_what_is_replaced_while_it_is_read(registry: Registry) -> None:
    """Milvus may show neither the old nor the new item for a moment."""
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM, store="milvus"))
    collection.upsert([item(f"i{n}", ROWS[n]) for n in range(9)], ROWS[:9])
    collection.delete(["i4", "i8"])
    chunks = iter(collection.stream())
    first = [each.id for each in next(chunks).items]
    collection.upsert([item("i4", ROWS[4]), item("i8", ROWS[8])], ROWS[[4, 8]])
    assert sorted([*first, *(each.id for chunk in chunks for each in chunk.items)]) == [f"i{n}" for n in range(9)]


def test_what_the_store_refuses(registry: Registry) -> None:
    for engine in ("faiss:HNSW32", "scann", "certified", "milvus"):
        with pytest.raises(InvalidRequest, match="engine"):
            registry.create(CollectionInfo("x", "m", "f", DIM, engine=engine, store="milvus"))
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM, store="milvus"))
    with pytest.raises(Conflict):
        registry.create(CollectionInfo("c", "m", "f", DIM))
    with pytest.raises(TooLarge, match="metadata"):
        collection.upsert([item("big", ROWS[0], {"x": "y" * 70_000})], ROWS[:1])
    assert list(collection.page("", 10)) == []


def test_a_snapshot_of_an_engine_that_is_not_here_is_restored(catalogue: MilvusCatalogue) -> None:
    info = CollectionInfo("back", "m", "f", DIM, engine="certified", store="milvus")
    made = catalogue.restore(info, [[item("a", ROWS[0])], [item("b", ROWS[1])]])
    assert (made.info.engine, made.describe()["count"]) == ("auto", 2)


def test_names_are_noted_for_a_process_that_does_not_reach_milvus(
    registry: Registry, settings: IndexSettings, store: Store
) -> None:
    registry.create(CollectionInfo("c", "m", "f", DIM, store="milvus"))
    registry.set_alias("live", "c")
    shared = shared_store(settings.model_copy(update={"milvus_uri": "http://127.0.0.1:9"}))
    later = Registry(store, settings, shared)
    later.load()
    for name in ("c", "live"):
        with pytest.raises(Unavailable):
            later.create(CollectionInfo(name, "m", "f", DIM))
    later.create(CollectionInfo("own", "m", "f", DIM))
    later.drop("own")


def test_foreign_collections_are_left_alone(
    registry: Registry, catalogue: MilvusCatalogue, settings: IndexSettings
) -> None:
    from index_service.milvus.rpc import messages
    from index_service.milvus.schema import create_request

    request = create_request(f"{settings.milvus_prefix}_store_c_foreign", CollectionInfo("foreign", "m", "f", DIM))
    schema = messages("schema").CollectionSchema.FromString(request.schema)
    schema.description = "another version"
    request.schema = schema.SerializeToString()
    catalogue._rpc.call("CreateCollection", request)
    catalogue.look()
    assert [each.info.name for each in registry.all()] == []
    with pytest.raises(Conflict):
        registry.create(CollectionInfo("foreign", "m", "f", DIM, store="milvus"))
    catalogue._maker.drop(request.collection_name)


@pytest.mark.parametrize("engine", ["auto", "exact"])
def test_exact_searches_are_brute_force(registry: Registry, engine: str) -> None:
    count = 3000
    rows = unit_rows(count, DIM, seed=3)
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM, engine=engine, store="milvus"))
    collection.upsert([item(f"i{n:04}", row, {"n": n}) for n, row in enumerate(rows)], rows)
    from index_service.answers.hits import Search, SearchBatch

    batch = SearchBatch([Search(n, encode_vector(rows[n]), 50, ("vector",)) for n in range(5)], rows[:5])
    truth = np.argsort(-(rows[:5].astype(np.float64) @ rows.T.astype(np.float64)), axis=1)[:, :50]
    for where, allowed in ((None, None), (orjson.dumps({"n": {"$lt": 1500}}), 1500)):
        found, _ = collection.search(batch, where, "certified")
        for (_, answer), best in zip(found.answers([*range(5)]), truth, strict=True):
            ids = [f"i{n:04}" for n in best if allowed is None or n < allowed]
            assert [hit["id"] for hit in answer["hits"]][: len(ids)] == ids
            assert answer["certificate"]["rows_verified"] == (allowed or count)
