"""Collections whose scores are inner products: vectors and queries stay as they were given, wherever they go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_core.errors import InvalidRequest
from clip_core.wire import decode_vector, encode_vector
from index_service.collection.collection import Collection
from index_service.collection.recall import Sample
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, ItemChunk, Store
from index_service.segments.engine_choice import Engines
from index_service.segments.sealing import seal_due, sealed_further
from index_service.segments.segment_files import SegmentFiles
from index_service.settings import IndexSettings
from index_service.snapshots.parquet import read_info, read_items, write_parquet
from index_service.snapshots.snapshot_files import Snapshots
from tests.index_service.helpers import item, rows_of

DIM = 8
ROWS = rows_of("dot", 40, DIM)
MODEL = {"model": "demo", "fingerprint": "f1", "dim": DIM, "metric": "dot"}
ODD = np.array(
    [[0] * DIM, [-0.0] * DIM, [1e-45] * DIM, [3e17] * DIM, [1e-40, 1, 2, 3, 1e10, -5, 6, 0.1]], np.float32
)  # vectors that any arithmetic would change


async def fill(client: httpx.AsyncClient, rows: np.ndarray = ROWS) -> list[dict[str, Any]]:
    """The results of an upsert into a new collection `c`."""
    assert (await client.put("/collections/c", json=MODEL)).status_code == 201
    items = [{"id": f"i{n}", "vector": encode_vector(row), "metadata": {"n": n}} for n, row in enumerate(rows)]
    answer = await client.post("/collections/c/items", json={"fingerprint": "f1", "items": items})
    return list(answer.json()["results"])


async def search(client: httpx.AsyncClient, *searches: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"fingerprint": "f1", "searches": [{"collection": "c", **search} for search in searches]}
    return list((await client.post("/search", json=body)).json()["results"])


async def test_a_collection_says_its_metric_and_keeps_it(client: httpx.AsyncClient) -> None:
    made = await client.put("/collections/c", json=MODEL)
    assert (made.status_code, made.json()["metric"]) == (201, "dot")
    unnamed = {name: value for name, value in MODEL.items() if name != "metric"}
    again = await client.put("/collections/c", json=unnamed)
    assert (again.status_code, again.json()["metric"]) == (200, "dot")
    refused = await client.put("/collections/c", json={**MODEL, "metric": "cosine"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert refused.json()["error"]["param"] == "metric"
    assert "metric dot, not cosine" in refused.json()["error"]["message"]
    assert (await client.put("/collections/other", json=unnamed)).json()["metric"] == "cosine"


@pytest.mark.parametrize("exact", [False, True, "certified"])
async def test_hits_are_the_largest_inner_products(client: httpx.AsyncClient, exact: bool | str) -> None:
    await fill(client)
    query = 7 * ROWS[3]
    asked = {"vector": encode_vector(query), "k": 10, "exact": exact}
    (whole, filtered) = await search(client, asked, {**asked, "filter": {"n": {"$gte": 20}}})
    scores = (ROWS.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    for result, least in ((whole, 0), (filtered, 20)):
        best = sorted(range(least, 40), key=lambda n: -scores[n])[:10]
        assert [hit["id"] for hit in result["hits"]] == [f"i{n}" for n in best]
        assert [np.float32(hit["score"]) for hit in result["hits"]] == [scores[n] for n in best]
    assert ("certificate" in whole) == (exact == "certified")
    assert whole["hits"][0]["score"] > 1


async def test_vectors_come_back_bit_for_bit(client: httpx.AsyncClient) -> None:
    assert {result["status"] for result in await fill(client, ODD)} == {200}
    for n, row in enumerate(ODD):
        shown = (await client.get(f"/collections/c/items/i{n}", params={"include": "vector"})).json()
        assert decode_vector(shown["vector"]).tobytes() == row.tobytes()
    (result,) = await search(client, {"vector": encode_vector(ROWS[0]), "include": ["vector"]})
    found = {hit["id"]: decode_vector(hit["vector"]).tobytes() for hit in result["hits"]}
    assert found == {f"i{n}": row.tobytes() for n, row in enumerate(ODD)}


async def test_a_vector_that_is_too_long_stops_no_other(client: httpx.AsyncClient) -> None:
    rows = np.ones((3, DIM), np.float32)
    rows[1] = 1e18
    results = await fill(client, rows)
    assert [result["status"] for result in results] == [200, 400, 200]
    assert (results[1]["error"]["code"], results[1]["error"]["param"]) == ("invalid_vector", "vector")
    good, long, zero = await search(
        client, *({"vector": encode_vector(row)} for row in (ROWS[0], rows[1], 0 * ROWS[0]))
    )
    assert (good["status"], long["status"], zero["status"]) == (200, 400, 200)
    assert long["error"]["code"] == "invalid_vector"
    assert [hit["score"] for hit in zero["hits"]] == [0, 0]


@pytest.fixture(params=[1, 1e-7])
def collection(registry: Registry, request: pytest.FixtureRequest) -> Collection:
    """Rows in the main segment, rows that are sealed, and then rows that are too long for that."""
    info = CollectionInfo("c", "m", "f", 16, engine="faiss:IVF16,SQ8", recall_target=0.95, metric="dot")
    collection, _ = registry.create(info)
    for start, scale in ((0, 1), (5000, 1), (10_000, 1000)):
        rows = rows_of("dot", 5000, 16, seed=start) * np.float32(scale * request.param)
        collection.upsert([item(f"i{start + n}", row, {"n": n % 3}) for n, row in enumerate(rows)], rows)
        if not start:
            collection.merge()
        while start == 5000 and collection.seal():
            pass
    return collection


def test_a_view_knows_the_longest_row_of_each_of_its_parts(collection: Collection) -> None:
    view = collection.view
    assert view.sealed is not None
    for max_norm, rows in (
        (view.rows.main.max_norm, view.rows.main.vectors),
        (view.sealed.max_norm, view.sealed.vectors),
        (view.max_norm, view.delta),
    ):
        assert max_norm == pytest.approx(np.linalg.norm(rows, axis=1).max(), rel=1e-6)


def test_rows_far_longer_than_those_learned_from_are_scanned(collection: Collection) -> None:
    view = collection.view
    assert seal_due(view)
    assert sealed_further(view) is None
    collection.merge()
    assert len(collection.view.delta) == 0


def test_all_parts_are_searched_as_one(collection: Collection) -> None:
    view, queries = collection.view, rows_of("dot", 10, 16, seed=1)
    every = view.vectors_of(np.arange(view.count)).astype(np.float64)
    truth = np.argsort(-(queries.astype(np.float64) @ every.T) + np.where(view.alive, 0, np.inf), axis=1)[:, :10]
    assert np.array_equal(view.search(queries, 10, None, True)[1], truth)
    (_, certain), certificates = view.certify(queries, 10, None)
    assert np.array_equal(certain, truth)
    assert {sum(certificate) for certificate in certificates} == {view.live}
    scores, rows = view.search(queries, 10, None, False)
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(rows, truth, strict=True)]) >= 0.9
    Sample(collection.recall, view, queries[0], None, scores[0]).measure()
    assert collection.recall.describe()[0]["recall"] >= 0.9


def test_a_merge_under_writes_keeps_the_bound_of_what_came_meanwhile(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = SegmentFiles.commit

    def after_a_write(*args: Any) -> None:
        collection.upsert([item("late", late)], late[None])
        commit(*args)

    late = np.full(16, 1e6, np.float32)
    monkeypatch.setattr(SegmentFiles, "commit", after_a_write)
    collection.merge()
    view = collection.view
    assert len(view.delta) == 1
    assert view.max_norm == pytest.approx(4e6)
    (_, rows), _ = view.certify(late[None], 1, None)
    assert view.rows.ids[rows[0, 0]] == "late"


def test_a_calibration_measures_inner_products_of_queries_as_they_were(collection: Collection) -> None:
    for query in rows_of("dot", 64, 16, seed=2):
        collection.note_query(query)
    collection.merge()
    calibration = collection.describe()["segment"]["calibration"]
    assert calibration["measured_on"] == "queries"
    assert calibration["recall"] >= 0.95


def test_a_snapshot_keeps_the_metric_and_every_bit(tmp_path: Path, store: Store, registry: Registry) -> None:
    collection, _ = registry.create(CollectionInfo("c", "m", "f", DIM, metric="dot"))
    collection.upsert([item(f"i{n}", row) for n, row in enumerate(ODD)], ODD)
    snapshots = Snapshots(tmp_path / "snapshots", store, registry)
    restored = snapshots.restore("again", snapshots.create(collection)["name"])
    assert restored.info.metric == "dot"
    kept = [one for chunk in store.stream(restored.info.key) for one in chunk.items]
    assert b"".join(one.vector for one in kept) == ODD.tobytes()
    assert restored.view.max_norm == pytest.approx(np.linalg.norm(ODD.astype(np.float64), axis=1).max())


def test_a_parquet_file_from_before_metrics_holds_cosines(tmp_path: Path) -> None:
    info = CollectionInfo("c", "m", "f", DIM, metric="dot")
    write_parquet(tmp_path / "new", info, [ItemChunk([1], [item("a", ROWS[0])])])
    assert read_info(tmp_path / "new", "c") == info
    table = pq.read_table(tmp_path / "new")
    for name, metric in (("old", b""), ("odd", b'"metric":"l2",')):
        about = table.schema.metadata[b"clipserve"].replace(b'"metric":"dot",', metric).replace(b'"sealed":true,', b"")
        pq.write_table(table.replace_schema_metadata({b"clipserve": about}), tmp_path / name)
    assert read_info(tmp_path / "old", "c") == replace(info, metric="cosine")
    assert [one.id for items in read_items(tmp_path / "old") for one in items] == ["a"]
    with pytest.raises(InvalidRequest, match="metric"):
        read_info(tmp_path / "odd", "c")
    assert pa.types.is_fixed_size_list(table.schema.field("vector").type)


def test_a_restart_reads_the_bound_from_the_rows(store: Store, collection: Collection, settings: IndexSettings) -> None:
    again = Collection(collection.info, store, Engines(settings))
    again.load()
    assert again.view.rows.main.max_norm == collection.view.rows.main.max_norm
    assert again.view.max_norm == collection.view.max_norm
