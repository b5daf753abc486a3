"""Items copied between collections of one model."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from clip_core.wire import encode_vector
from tests.index_service.helpers import unit_rows

DIM, N = 4, 20
ROWS = unit_rows(N, DIM)
COPY = "/collections/to/items/copy"
MODEL = {"model": "m", "fingerprint": "f", "dim": DIM}


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    for name in ("from", "to"):
        await client.put(f"/collections/{name}", json=MODEL)
    items = [
        {"id": f"i{n:02}", "vector": encode_vector(ROWS[n]), "metadata": {"n": n}, "source": {"text": f"{n}"}}
        for n in range(N)
    ]
    assert (await client.post("/collections/from/items", json={"items": items})).status_code == 200
    return client


async def whole(client: httpx.AsyncClient, collection: str) -> list[Any]:
    page = await client.get(f"/collections/{collection}/items?since=0&include=vector,source&limit=50")
    return sorted(({**one, "seq": 0} for one in page.json()["items"]), key=lambda one: str(one["id"]))


async def test_items_by_their_ids(filled: httpx.AsyncClient) -> None:
    answer = await filled.post(COPY, json={"from": "from", "ids": ["i03", "none", "i01", "i03"]})
    assert [one["status"] for one in answer.json()["results"]] == [200, 404, 200, 200]
    source = await whole(filled, "from")
    assert await whole(filled, "to") == [source[1], source[3]]
    search = {"collection": "to", "vector": encode_vector(ROWS[3]), "k": 1}
    (result,) = (await filled.post("/search", json={"searches": [search]})).json()["results"]
    assert result["hits"][0]["id"] == "i03"


@pytest.mark.parametrize(("where", "count"), [({}, N), ({"n": {"$gte": 12}}, 8)])
async def test_what_a_filter_names(filled: httpx.AsyncClient, where: dict[str, Any], count: int) -> None:
    copied, after = 0, None
    while True:
        page = (await filled.post(COPY, json={"from": "from", "filter": where, "limit": 3, "after": after})).json()
        copied, after = copied + page["copied"], page["next"]
        if after is None:
            break
    assert copied == count
    assert await whole(filled, "to") == (await whole(filled, "from"))[N - count :]


@pytest.mark.parametrize(
    ("other", "status", "code"),
    [
        ({"fingerprint": "g"}, 409, "fingerprint_mismatch"),
        ({"metric": "dot"}, 409, "conflict"),
    ],
)
async def test_collections_that_differ(
    filled: httpx.AsyncClient, other: dict[str, Any], status: int, code: str
) -> None:
    await filled.put("/collections/other", json={**MODEL, **other})
    answer = await filled.post("/collections/other/items/copy", json={"from": "from", "ids": ["i01"]})
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (
        status,
        code,
        "from",
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ids": ["i01"]}, 400),
        ({"from": "from"}, 400),
        ({"from": "from", "ids": [], "filter": {}}, 400),
        ({"from": "to", "ids": ["i01"]}, 400),
        ({"from": "none", "ids": ["i01"]}, 404),
        ({"from": "from", "ids": [5]}, 400),
        ({"from": "from", "ids": ["a"] * 51}, 413),
        ({"from": "from", "filter": {"$x": 1}}, 400),
        ({"from": "from", "filter": {}, "foo": 1}, 400),
    ],
)
async def test_bad_calls(filled: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    answer = await filled.post(COPY, json=body)
    assert answer.status_code == status, answer.text
    assert await whole(filled, "to") == []
