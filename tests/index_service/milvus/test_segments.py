"""Collections whose rows are in several shards and segments, sealed and growing: nothing is left out, nothing twice."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.rpc import messages, wait_until
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, unit_rows

pytestmark = pytest.mark.xdist_group("milvus")

DIM, N, PARTS = 8, 120, 3
ROWS = unit_rows(N, DIM)
IDS = [f"i{n:03}" for n in range(N)]


@pytest.fixture
def settings(settings: IndexSettings) -> IndexSettings:
    return settings.model_copy(update={"milvus_shards": 2, "max_batch": 1000, "milvus_consistency": "strong"})


def sealed(catalogue: MilvusCatalogue, there: str) -> None:
    """Write what is in memory of it to segments of its own, as Milvus does by itself now and then."""
    answer = catalogue._rpc.call("Flush", messages().FlushRequest(collection_names=[there]))
    asked = messages().GetFlushStateRequest(segmentIDs=answer.coll_segIDs[there].data)
    wait_until(lambda: bool(catalogue._rpc.call("GetFlushState", asked).flushed), 30, "flush")


@pytest.fixture
async def filled(client: httpx.AsyncClient, registry: Registry, catalogue: MilvusCatalogue) -> httpx.AsyncClient:
    """Interleaved, so that each page has items of each segment; and the first one is written again."""
    assert (await client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": DIM})).status_code == 201
    collection: Any = registry.get("c")
    for part in range(PARTS):
        rows = [n for n in range(N) if n % PARTS == part or n == 0]
        collection.upsert([item(IDS[n], ROWS[n], {"n": n, "part": part}) for n in rows], ROWS[rows])
        if part < PARTS - 1:
            sealed(catalogue, collection.there)
    return client


async def test_pages_have_every_item_once(filled: httpx.AsyncClient) -> None:
    for limit in (1, 39, 40, 41, 119, 120, 121):
        for more in ({}, {"filter": '{"n":{"$exists":true}}'}):
            listed, after = list[str](), ""
            while after is not None:
                query = {"limit": limit, "after": after, **more}
                page = (await filled.get("/collections/c/items", params=query)).json()
                assert len(page["items"]) <= limit
                listed, after = [*listed, *(each["id"] for each in page["items"])], page["next"]
            assert listed == IDS


async def test_and_so_has_whatever_reads_all(
    filled: httpx.AsyncClient, registry: Registry, catalogue: MilvusCatalogue
) -> None:
    collection: Any = registry.get("c")
    assert [each.id for chunk in collection.stream() for each in chunk.items] == IDS
    (facet,) = (await filled.post("/collections/c/facets", json={"fields": ["part"]})).json()["facets"]
    assert {each["value"]: each["count"] for each in facet["values"]} == {0: 39, 1: 40, 2: 41}
    search = {"collection": "c", "vector": encode_vector(ROWS[5]), "k": N, "include": []}
    for exact in (True, False):
        (result,) = (await filled.post("/search", json={"searches": [{**search, "exact": exact}]})).json()["results"]
        assert sorted(hit["id"] for hit in result["hits"]) == IDS
    followed, since = list[str](), 0
    while since is not None:
        page = (await filled.get("/collections/c/items", params={"limit": 50, "since": since})).json()
        followed, since = [*followed, *(each["id"] for each in page["items"])], page["next"]
    written = [IDS[n] for part in range(PARTS) for n in range(N) if n % PARTS == part and n]
    assert [id_ for id_ in followed if id_ != IDS[0]] == written
    assert len(followed) == N
    deleted = await filled.post("/collections/c/items/delete", json={"filter": {"part": {"$gt": 0}}})
    assert deleted.json() == {"deleted": 81}
    assert (await filled.get("/collections/c")).json()["count"] == 39
    asked = messages().DescribeCollectionRequest(collection_name=collection.there)
    assert catalogue._rpc.call("DescribeCollection", asked).shards_num == 2
