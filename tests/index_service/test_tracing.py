"""A request's trace through the index service."""

from __future__ import annotations

import httpx

from clip_core.tracing.trace_context import read_traceparent
from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from tests.clip_core.test_tracing import PARENT
from tests.index_service.helpers import unit_rows
from tests.tracing import kept_spans

DIM = 8


async def filled(client: httpx.AsyncClient) -> list[str]:
    vectors = [encode_vector(row) for row in unit_rows(20, DIM)]
    body = {"model": "m", "fingerprint": "f", "dim": DIM}
    assert (await client.put("/collections/c", json=body)).status_code == 201
    items = [{"id": str(i), "vector": vector, "metadata": {"n": i}} for i, vector in enumerate(vectors)]
    assert (await client.post("/collections/c/items", json={"fingerprint": "f", "items": items})).status_code == 200
    return vectors


async def test_a_search_is_a_part_of_its_callers_trace(client: httpx.AsyncClient) -> None:
    vectors = await filled(client)
    search = {"collection": "c", "k": 3, "vector": vectors[0], "filter": {"n": {"$gte": 3}}}
    with kept_spans() as kept:
        body = {"fingerprint": "f", "searches": [search]}
        assert (await client.post("/search", json=body, headers={"traceparent": PARENT})).status_code == 200
    request, retrieval = kept.one("POST search"), kept.one("retrieval")
    assert request.parent == read_traceparent(PARENT)
    assert retrieval.parent == request.context
    assert retrieval.attributes["gen_ai.data_source.id"] == "c"
    assert {"filter", "main segment"} <= {span.name for span in kept.under(retrieval)}
    assert not any("$gte" in str(span.attributes) for span in kept.spans)


async def test_a_write_in_a_thread_stays_in_its_trace(client: httpx.AsyncClient) -> None:
    with kept_spans() as kept:
        await filled(client)
    upsert = kept.one("upsert")
    assert upsert.parent == kept.one("POST upsert_items").context
    assert upsert.attributes["clipserve.items"] == 20


async def test_a_merge_is_a_trace_of_its_own(client: httpx.AsyncClient, registry: Registry) -> None:
    await filled(client)
    with kept_spans() as kept:
        registry._maintenance.merge(registry.get("c"))
    assert kept.one("merge").parent is None


async def test_an_error_says_its_trace(client: httpx.AsyncClient) -> None:
    answer = await client.get("/collections/none", headers={"traceparent": PARENT})
    assert answer.status_code == 404
    assert answer.json()["error"]["trace_id"] == PARENT[3:35]
    assert "trace_id" not in (await client.get("/collections/none")).json()["error"]


async def test_a_bad_traceparent_is_left_out(client: httpx.AsyncClient) -> None:
    for value in ("", PARENT.upper(), PARENT * 200, "\xff"):
        answer = await client.get("/collections", headers={"traceparent": value.encode("latin-1")})
        assert answer.status_code == 200
