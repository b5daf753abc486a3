"""The HTTP contract: every call, every way to get it wrong, and the envelope around each failure."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from clip_core.wire import decode_vector, encode_vector
from index_service.collection.registry import Registry
from index_service.record.store import Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import http_of, unit_rows

DIM = 8
ROWS = unit_rows(30, DIM)
MODEL = {"model": "demo", "fingerprint": "f1", "dim": DIM}


def body(n: int, **more: Any) -> dict[str, Any]:
    color = ("red", "blue")[n % 2]
    return {"id": f"i{n}", "vector": encode_vector(ROWS[n]), "metadata": {"color": color, "n": n}, **more}


async def fill(client: httpx.AsyncClient, name: str = "shapes", count: int = 30) -> None:
    assert (await client.put(f"/collections/{name}", json=MODEL)).status_code == 201
    answer = await upsert(client, [body(n) for n in range(count)], name)
    assert {result["status"] for result in answer.json()["results"]} == {200}


async def upsert(client: httpx.AsyncClient, items: list[Any], name: str = "shapes") -> httpx.Response:
    return await client.post(f"/collections/{name}/items", json={"fingerprint": "f1", "items": items})


async def search(client: httpx.AsyncClient, fingerprint: str | None = "f1", **part: Any) -> dict[str, Any]:
    """The one result of one search; a field given as None is left out."""
    whole = {"collection": "shapes", "vector": encode_vector(ROWS[3]), "k": 5, **part}
    given = {key: value for key, value in whole.items() if value is not None}
    answer = await client.post("/search", json={"fingerprint": fingerprint, "searches": [given]})
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    return dict(result)


def assert_envelope(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


async def test_it_profiles_itself(client: httpx.AsyncClient) -> None:
    answer = await client.post("/stats/profile?seconds=1&memory=true")
    assert answer.status_code == 200
    assert {"seconds", "cpu_ms", "stacks", "timeline", "memory"} == set(answer.json())
    for query in ("seconds=0", "seconds=21", "seconds=x", "deep=true"):
        assert_envelope(await client.post(f"/stats/profile?{query}"), 400, "invalid_request")


async def test_health_readiness_and_metrics(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).status_code == 200
    await fill(client)
    await search(client)
    shown = (await client.get("/metrics")).text
    assert 'clipserve_index_items{collection="shapes"} 30.0' in shown
    assert "clipserve_index_searches_total 1.0" in shown
    assert 'clipserve_index_requests_total{route="search",status="200"} 1.0' in shown


async def test_all_but_health_waits_for_loading(settings: IndexSettings, store: Store) -> None:
    async with http_of(settings, Registry(store, settings)) as client:
        assert (await client.get("/healthz")).status_code == 200
        for call in (client.get("/readyz"), client.get("/collections"), client.post("/search", json={})):
            assert_envelope(await call, 503, "unavailable")


async def test_a_collection_is_created_described_and_dropped(client: httpx.AsyncClient) -> None:
    created = await client.put("/collections/shapes", json={**MODEL, "recall_target": 0.9, "metadata": {"a": [1]}})
    assert created.status_code == 201
    assert (await client.put("/collections/shapes", json=MODEL)).status_code == 200
    described = (await client.get("/collections/shapes")).json()
    assert described == created.json()
    assert described["segment"] == {"engine": "exact", "rows": 0, "delta": 0, "tombstones": 0}
    assert (described["count"], described["recall_target"], described["metadata"]) == (0, 0.9, {"a": [1]})
    assert (await client.get("/collections")).json() == {"collections": [described]}
    assert (await client.delete("/collections/shapes")).json() == {"deleted": True}
    for call in (client.get, client.delete):
        assert_envelope(await call("/collections/shapes"), 404, "collection_not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"fingerprint": "f2"}, "fingerprint_mismatch"),
        ({"dim": 9}, "conflict"),
        ({"model": "other"}, "conflict"),
        ({"metric": "dot"}, "conflict"),
    ],
)
async def test_a_collection_is_never_changed(client: httpx.AsyncClient, change: dict[str, Any], code: str) -> None:
    await client.put("/collections/shapes", json=MODEL)
    assert_envelope(await client.put("/collections/shapes", json={**MODEL, **change}), 409, code)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"dim": 0}, "dim"),
        ({"dim": True}, "dim"),
        ({"dim": 9000}, "dim"),
        ({"engine": "magic"}, "engine"),
        ({"engine": ["exact"]}, "engine"),
        ({"engine": "faiss", "factory": "nonsense"}, "factory"),
        ({"engine": "faiss", "factory": 3}, "factory"),
        ({"engine": "exact", "factory": "HNSW32"}, "factory"),
        ({"recall_target": 0}, "recall_target"),
        ({"metric": "l2"}, "metric"),
        ({"metric": ["dot"]}, "metric"),
        ({"metric": None}, "metric"),
        ({"recall_target": True}, "recall_target"),
        ({"model": ""}, "model"),
        ({"fingerprint": None}, "fingerprint"),
        ({"metadata": []}, "metadata"),
    ],
)
async def test_a_bad_description_names_the_field(client: httpx.AsyncClient, change: dict[str, Any], param: str) -> None:
    answer = await client.put("/collections/shapes", json={**MODEL, **change})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("name", ["-a", "a" * 65, "a.b", "ä", "a%0A", "a%20b"])
async def test_a_bad_name_is_refused(client: httpx.AsyncClient, name: str) -> None:
    assert_envelope(await client.put(f"/collections/{name}", json=MODEL), 400, "invalid_request")


async def test_a_bad_item_never_stops_its_neighbours(client: httpx.AsyncClient) -> None:
    await client.put("/collections/shapes", json=MODEL)
    nan = encode_vector(np.full(DIM, np.nan, np.float32))
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"a": deep}
    items = [
        body(0),
        body(1, vector=nan),
        body(2, vector=[1.0] * (DIM - 1)),
        body(3, id=""),
        body(4, id="x" * 513),
        body(5, id=7),
        body(6, metadata=["no object"]),
        body(7, vector=[0.0] * DIM),
        body(8, vector="*"),
        {"id": "no vector"},
        "no object",
        body(9, metadata=deep),
        body(10, vector=[3.0] + [0.0] * (DIM - 1)),
        body(11, id="x" * 512),
    ]
    results = (await upsert(client, items)).json()["results"]
    assert [result["status"] for result in results] == [200] + [400] * 11 + [200, 200]
    assert [result["id"] for result in results[:2]] == ["i0", "i1"]
    assert results[1]["error"]["code"] == "invalid_vector"
    assert results[3]["error"]["param"] == "id"
    assert (await client.get("/collections/shapes")).json()["count"] == 3


async def test_the_last_of_equal_ids_wins(client: httpx.AsyncClient) -> None:
    await client.put("/collections/shapes", json=MODEL)
    items = [body(0, id="a"), body(1, id="b"), body(2, id="a"), body(3, id="a", vector="bad")]
    results = (await upsert(client, items)).json()["results"]
    assert [result["status"] for result in results] == [400, 200, 200, 400]
    assert (results[0]["error"]["code"], "same id" in results[0]["error"]["message"]) == ("bad_input", True)
    assert (await client.get("/collections/shapes/items/a")).json()["metadata"]["n"] == 2


async def test_an_upsert_of_another_fingerprint_is_refused_whole(client: httpx.AsyncClient) -> None:
    await fill(client, count=1)
    wrong = {"fingerprint": "f2", "items": [body(1)]}
    assert_envelope(await client.post("/collections/shapes/items", json=wrong), 409, "fingerprint_mismatch")
    own = {"fingerprint": None, "items": [body(1)]}
    assert (await client.post("/collections/shapes/items", json=own)).status_code == 200


@pytest.mark.parametrize("id_", ["a/b/c.jpg", "ä ö", "delete", "100%", "a?b#c", "q" * 512])
async def test_items_are_read_and_deleted_by_id(client: httpx.AsyncClient, id_: str) -> None:
    await client.put("/collections/shapes", json=MODEL)
    await upsert(client, [body(0, id=id_)])
    path = httpx.URL("http://localhost").copy_with(raw_path=f"/collections/shapes/items/{quoted(id_)}".encode())
    read = (await client.get(path, params={"include": "vector"})).json()
    assert (read["id"], read["metadata"]["n"]) == (id_, 0)
    assert np.array_equal(decode_vector(read["vector"]), ROWS[0])
    assert (await client.delete(path)).json() == {"deleted": True}
    for call in (client.get, client.delete):
        assert_envelope(await call(path), 404, "item_not_found")


def quoted(id_: str) -> str:
    return "".join(f"%{byte:02X}" for byte in id_.encode())


async def test_items_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    await fill(client)
    seen: list[str] = []
    after = ""
    while True:
        page = (await client.get("/collections/shapes/items", params={"limit": 7, "after": after})).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(f"i{n}" for n in range(30))
    for limit in ("0", "51", "x", "-1"):
        answer = await client.get("/collections/shapes/items", params={"limit": limit})
        assert_envelope(answer, 400, "invalid_request")


async def test_items_are_deleted_by_ids_and_by_filter(client: httpx.AsyncClient) -> None:
    await fill(client)
    path = "/collections/shapes/items/delete"
    assert (await client.post(path, json={"ids": ["i0", "i0", "none", "i1"]})).json() == {"deleted": 2}
    assert (await client.post(path, json={"filter": {"color": "red"}})).json() == {"deleted": 14}
    hits = (await search(client, k=100))["hits"]
    assert {hit["metadata"]["color"] for hit in hits} == {"blue"}
    assert len(hits) == 14


@pytest.mark.parametrize(
    "given", [{}, {"filter": {}}, {"filter": None}, {"ids": "i1"}, {"ids": [1]}, {"ids": ["a"], "filter": {"a": 1}}]
)
async def test_nothing_is_deleted_without_saying_what(client: httpx.AsyncClient, given: dict[str, Any]) -> None:
    await fill(client)
    assert (await client.post("/collections/shapes/items/delete", json=given)).status_code == 400
    assert (await client.get("/collections/shapes")).json()["count"] == 30


async def test_hits_are_the_nearest_by_cosine(client: httpx.AsyncClient) -> None:
    await fill(client)
    result = await search(client, k=10, vector=[float(x) * 3 for x in ROWS[3]], include=["metadata", "vector"])
    scores = (ROWS.astype(np.float64) @ ROWS[3].astype(np.float64)).astype(np.float32)
    expected = sorted(range(30), key=lambda n: -scores[n])[:10]
    assert [hit["id"] for hit in result["hits"]] == [f"i{n}" for n in expected]
    assert np.allclose([hit["score"] for hit in result["hits"]], scores[expected], atol=1e-6)
    assert result["hits"][0]["metadata"] == {"color": "blue", "n": 3}
    assert np.array_equal(decode_vector(result["hits"][0]["vector"]), ROWS[3])
    assert (result["status"], result["fingerprint"], result["dim"]) == (200, "f1", DIM)


async def test_include_chooses_what_a_hit_holds(client: httpx.AsyncClient) -> None:
    await fill(client)
    assert set((await search(client, include=[]))["hits"][0]) == {"id", "score"}
    assert set((await search(client, include=["vector"]))["hits"][0]) == {"id", "score", "vector"}
    assert set((await search(client, exact=True))["hits"][0]) == {"id", "score", "metadata"}


async def test_a_certified_search_says_what_was_bounded_and_what_verified(client: httpx.AsyncClient) -> None:
    await fill(client)
    plain, certified = await search(client, exact=True), await search(client, exact="certified")
    assert certified["hits"] == plain["hits"]
    assert "certificate" not in plain
    assert certified["certificate"] == {"rows_bounded": 0, "rows_verified": 30}
    filtered = await search(client, exact="certified", filter={"n": {"$lt": 4}})
    assert filtered["certificate"] == {"rows_bounded": 0, "rows_verified": 4}


async def test_searches_of_one_call_are_answered_each_by_itself(client: httpx.AsyncClient) -> None:
    await fill(client)
    await fill(client, "other", 3)
    one = {"collection": "shapes", "vector": encode_vector(ROWS[3]), "k": 2}
    searches = [
        one,
        {**one, "collection": "none"},
        {**one, "k": 0},
        {**one, "k": 1_000_000},
        {**one, "vector": [1.0]},
        {**one, "filter": {"n": {"$near": 1}}},
        "no object",
        {"collection": "shapes"},
        {**one, "filter": {"color": "red"}, "k": 4},
        {**one, "collection": "other", "k": 50},
        {**one, "k": 7},
        {**one, "collection": None},
    ]
    answer = (await client.post("/search", json={"fingerprint": "f1", "searches": searches})).json()
    results = answer["results"]
    assert answer["timing"]["search_ms"] >= 0
    assert [result["status"] for result in results] == [200, 404, 400, 400, 400, 400, 400, 400, 200, 200, 200, 400]
    codes = [result["error"]["code"] for result in results if result["status"] != 200]
    assert codes[:5] == ["collection_not_found", "bad_input", "bad_input", "invalid_vector", "invalid_filter"]
    assert "$near" in results[5]["error"]["message"]
    assert [len(results[i]["hits"]) for i in (0, 8, 9, 10)] == [2, 4, 3, 7]
    assert results[0]["hits"] == results[10]["hits"][:2]
    assert {hit["metadata"]["color"] for hit in results[8]["hits"]} == {"red"}


async def test_a_search_of_another_fingerprint_is_409_and_an_own_vector_is_not(client: httpx.AsyncClient) -> None:
    await fill(client)
    refused = await search(client, fingerprint="f2")
    assert (refused["status"], refused["error"]["code"]) == (409, "fingerprint_mismatch")
    for way_out in ("`clipserve up --model ", "`clipserve reindex shapes NEW`"):
        assert way_out in refused["error"]["message"]
    assert (await search(client, fingerprint=None))["status"] == 200


async def test_large_calls_run_in_threads_with_the_same_answers(client: httpx.AsyncClient) -> None:
    await fill(client)
    one = {"collection": "shapes", "vector": encode_vector(ROWS[3]), "k": 30, "filter": {"n": {"$gte": 0}}}
    for padding in ("", "x" * 4_000):
        body = {"fingerprint": "f1", "searches": [{**one, "request_id": padding}] * 20}
        results = (await client.post("/search", json=body)).json()["results"]
        assert all(result == results[0] and len(result["hits"]) == 30 for result in results)


async def test_search_bodies_of_the_wrong_shape(client: httpx.AsyncClient) -> None:
    for content, status, code in [
        (b"{", 400, "invalid_json"),
        (b"\xff", 400, "invalid_json"),
        (b"", 400, "invalid_json"),
        (b"[]", 400, "invalid_request"),
        (b"{}", 400, "invalid_request"),
        (b'{"searches":[],"fingerprint":3}', 400, "invalid_request"),
        (orjson.dumps({"searches": [{}] * 21}), 413, "request_too_large"),
    ]:
        assert_envelope(await client.post("/search", content=content), status, code)
    assert (await client.post("/search", json={"searches": []})).json()["results"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/search", 405, "method_not_allowed"),
        ("PATCH", "/collections/shapes", 405, "method_not_allowed"),
        ("PROPFIND", "/healthz", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/search/", 404, "not_found"),
        ("GET", "/collections/none/items/a", 404, "collection_not_found"),
        ("GET", "/docs", 404, "not_found"),
    ],
)
async def test_what_is_not_there(client: httpx.AsyncClient, method: str, path: str, status: int, code: str) -> None:
    assert_envelope(await client.request(method, path), status, code)


async def test_a_bug_is_a_500_that_tells_nothing(client: httpx.AsyncClient, registry: Registry) -> None:
    await fill(client)
    registry.get("shapes").__dict__["view"] = None
    answer = await client.get("/collections/shapes")
    assert_envelope(answer, 500, "internal_error")
    assert "NoneType" not in answer.text


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("a b", False), ("ü", False), ("x" * 129, False)])
async def test_request_ids_come_back_and_are_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, given: str, kept: bool
) -> None:
    caplog.set_level(logging.INFO, "index_service.access")
    searches = [{"request_id": "r1"}, {"request_id": "r\n2"}, {"request_id": None}]
    headers = {"X-Request-Id": given.encode()}
    answer = await client.post("/search", json={"searches": searches}, headers=headers)
    await asyncio.sleep(0)  # the line is written after the answer
    shown = answer.headers["x-request-id"]
    assert (shown == given) is kept
    line = vars(caplog.records[-1])
    assert (line["request_id"], line["request_ids"], line["method"], line["status"]) == (shown, ["r1"], "POST", 200)
    assert line["path"] == "/search"
    assert line["ms"] > 0
