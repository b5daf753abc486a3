"""What a call doesn't know is refused with its name: a misspelt field never changes an answer without a word."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from index_service.record.store import Store
from tests.index_service.test_limits import ITEM, MODEL, SEARCH, serving


@pytest.fixture
async def served(store: Store) -> Any:
    async with serving(store) as client:
        await client.post("/collections/c/items", json={"items": [ITEM]})
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/collections/d", MODEL),
        ("PUT", "/aliases/a", {"collection": "c"}),
        ("POST", "/search", {"searches": [SEARCH]}),
        ("POST", "/collections/c/items", {"items": [ITEM]}),
        ("POST", "/collections/c/items/delete", {"ids": ["a"]}),
        ("PATCH", "/collections/c/items/a", {"metadata": {}}),
        ("PATCH", "/collections/c/items", {"ids": ["a"], "metadata": {}}),
        ("POST", "/collections/c/facets", {}),
        ("POST", "/collections/d/restore", {"snapshot": "x"}),
    ],
)
async def test_unknown_fields_of_bodies(
    served: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]
) -> None:
    answer = await served.request(method, path, json={**body, "foo": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert answer.json()["error"]["param"] == "foo"


async def test_unknown_fields_of_one_search_or_item_spoil_nothing_else(served: httpx.AsyncClient) -> None:
    searches = [SEARCH, {**SEARCH, "offset": 5}, {**SEARCH, "min_score": "x"}, {**SEARCH, "request_id": "r"}]
    results = (await served.post("/search", json={"searches": searches})).json()["results"]
    assert [one["status"] for one in results] == [200, 400, 400, 200]
    assert [one["error"]["param"] for one in results[1:3]] == ["offset", "min_score"]
    items = [{**ITEM, "metdata": {}}, {**ITEM, "id": "b"}]
    results = (await served.post("/collections/c/items", json={"items": items})).json()["results"]
    assert [one["status"] for one in results] == [400, 200]
    assert results[0]["error"]["param"] == "metdata"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/collections/c/items?include=foo", "include"),
        ("/collections/c/items?include=vector", "include"),
        ("/collections/c/items?since=0&include=vector,foo", "include"),
        ("/collections/c/items?since=0&after=zzz", "after"),
        (f"/collections/c/items?after={'x' * 513}", "after"),
        ("/collections/c/items?limit=1&limit=2", "limit"),
        ("/collections/c/items?offset=3", "offset"),
        ("/collections/c/items/a?include=vectors", "include"),
        ("/collections/c/items/a?since=1", "since"),
        ("/collections/c?verbose=1", "verbose"),
        ("/collections?limit=1", "limit"),
        ("/aliases?limit=1", "limit"),
        ("/snapshots?limit=1", "limit"),
    ],
)
async def test_query_parameters(served: httpx.AsyncClient, path: str, param: str) -> None:
    answer = await served.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", param)


@pytest.mark.parametrize(
    "path",
    [
        "items",
        "items?limit=1&after=-1",
        "items?since=0&limit=1&include=source,vector",
        "items?since=0",
        "items/a?include=",
    ],
)
async def test_what_is_known_is_taken(served: httpx.AsyncClient, path: str) -> None:
    assert (await served.get(f"/collections/c/{path}")).status_code == 200
