"""Every limit is a setting, and what is beyond it gets the right error, in the envelope."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from clip_core.wire import encode_vector
from index_service.collection.registry import Registry
from index_service.record.store import Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import http_of, unit_rows

MODEL = {"model": "demo", "fingerprint": "f", "dim": 4}
VECTOR = encode_vector(unit_rows(1, 4)[0])
ITEM = {"id": "a", "vector": VECTOR}
SEARCH = {"collection": "c", "vector": VECTOR}


@asynccontextmanager
async def serving(store: Store, **limits: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app with these limits, and the collection `c`."""
    settings = IndexSettings(data_dir=store.path.parent, **limits)
    registry = Registry(store, settings)
    registry.load()
    async with http_of(settings, registry) as client:
        assert (await client.put("/collections/c", json=MODEL)).status_code == 201
        yield client


@pytest.mark.parametrize(
    ("limits", "method", "path", "body", "status"),
    [
        ({"max_body_bytes": 200}, "POST", "/search", {"searches": [], "padding": "x" * 200}, 413),
        ({"max_batch": 2}, "POST", "/collections/c/items", {"items": [ITEM] * 3}, 413),
        ({"max_batch": 2}, "POST", "/collections/c/items/delete", {"ids": ["a"] * 3}, 413),
        ({"max_batch": 2}, "GET", "/collections/c/items?limit=3", None, 400),
        ({"max_searches": 2}, "POST", "/search", {"searches": [SEARCH] * 3}, 413),
        ({"max_dim": 4}, "PUT", "/collections/d", {**MODEL, "dim": 5}, 400),
        ({"max_collections": 1}, "PUT", "/collections/d", MODEL, 409),
    ],
)
async def test_what_is_beyond_a_limit_is_refused(
    store: Store, limits: dict[str, int], method: str, path: str, body: object, status: int
) -> None:
    async with serving(store, **limits) as client:
        answer = await client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]


async def test_there_is_a_limit_to_aliases(store: Store) -> None:
    async with serving(store, max_collections=2) as client:
        put = [await client.put(f"/aliases/{name}", json={"collection": "c"}) for name in "abba"]
        assert [answer.status_code for answer in put] == [200] * 4
        assert (await client.put("/aliases/d", json={"collection": "c"})).status_code == 409


async def test_k_has_a_limit_of_its_own(store: Store) -> None:
    async with serving(store, max_k=5) as client:
        results = (await client.post("/search", json={"searches": [{**SEARCH, "k": k} for k in (5, 6)]})).json()
        assert [result["status"] for result in results["results"]] == [200, 400]
        assert results["results"][1]["error"]["param"] == "k"


@pytest.mark.parametrize(
    ("limit", "path", "body"),
    [
        ("max_concurrent_searches", "/search", {"searches": []}),
        ("max_concurrent_writes", "/collections/c/items", {"items": []}),
    ],
)
async def test_too_much_at_once_is_429_with_retry_after(store: Store, limit: str, path: str, body: object) -> None:
    async with serving(store, **{limit: 2}) as client:
        waiting = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            await waiting.wait()
            yield orjson.dumps(body)

        inside = [asyncio.create_task(client.post(path, content=slow())) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = await client.post(path, json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert (refused.json()["error"]["code"], limit in refused.json()["error"]["message"]) == ("overloaded", True)
        assert (await client.get("/healthz")).status_code == 200
        waiting.set()
        assert {answer.status_code for answer in await asyncio.gather(*inside)} == {200}
        assert (await client.post(path, json=body)).status_code == 200
