"""Facets: exact counts against a plain loop over the documents, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_service.metadata.fields import Field

MODEL = {"model": "m", "fingerprint": "f", "dim": 2}
PLAIN = st.one_of(st.text(max_size=3), st.integers(-3, 3), st.sampled_from([0.5, 2.0, -0.0, 1 << 60]), st.booleans())
VALUES = st.one_of(PLAIN, st.none(), st.lists(PLAIN, max_size=2), st.dictionaries(st.text(max_size=1), PLAIN))
DOCUMENTS = st.lists(st.tuples(st.dictionaries(st.sampled_from(["a", "b"]), VALUES), st.booleans()), max_size=40)


def counted(documents: list[dict[str, Any]], field: str) -> Counter[tuple[bool, Any]]:
    """Python says True == 1; JSON does not."""
    plain = (each[field] for each in documents if isinstance(each.get(field), str | int | float))
    return Counter((isinstance(value, bool), value) for value in plain)


@given(DOCUMENTS)
def test_counts_are_those_of_a_plain_loop(rows: list[tuple[dict[str, Any], bool]]) -> None:
    column = Field("a")
    column.extend([document for document, _ in rows])
    found = column.counts(np.array([allowed for _, allowed in rows], np.bool_))
    wanted = counted([document for document, allowed in rows if allowed], "a")
    assert {(isinstance(value, bool), value): n for value, n in found.values} == dict(wanted)
    assert found.missing == sum(allowed for _, allowed in rows) - wanted.total()


async def fill(client: httpx.AsyncClient, metadata: list[dict[str, Any]]) -> None:
    assert (await client.put("/collections/shapes", json=MODEL)).status_code == 201
    items = [{"id": f"{n:03}", "vector": [1.0, n], "metadata": each} for n, each in enumerate(metadata)]
    for start in range(0, len(items), 50):
        body = {"fingerprint": "f", "items": items[start : start + 50]}
        assert (await client.post("/collections/shapes/items", json=body)).status_code == 200


async def facets(client: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    answer = await client.post("/collections/shapes/facets", json=body)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["facets"]
    return found


async def test_fields_whose_values_repeat_are_found_and_counted(client: httpx.AsyncClient) -> None:
    colors = ["red"] * 30 + ["blue"] * 60 + ["green"] * 20
    await fill(client, [{"color": c, "n": i % 2, "unique": f"u{i}", "deep": {"a": 1}} for i, c in enumerate(colors)])
    color, n = await facets(client)
    assert color == {
        "field": "color",
        "distinct": 3,
        "missing": 0,
        "values": [{"value": "blue", "count": 60}, {"value": "red", "count": 30}, {"value": "green", "count": 20}],
    }
    assert n["values"] == [{"value": 0, "count": 55}, {"value": 1, "count": 55}]


async def test_named_fields_filters_and_bounds(client: httpx.AsyncClient) -> None:
    await fill(client, [{"color": "red" if n % 3 else "blue", "deep": {"n": n % 5}, "n": n} for n in range(40)])
    (deep, none) = await facets(client, fields=["deep.n", "none"], filter={"color": "blue"}, values=2)
    assert (deep["distinct"], deep["missing"], len(deep["values"])) == (5, 0, 2)
    assert deep["values"][0] == {"value": 0, "count": 3}
    assert (none["distinct"], none["missing"], none["values"]) == (0, 14, [])
    await client.post("/collections/shapes/items/delete", json={"filter": {"n": {"$gte": 10}}})
    (color,) = await facets(client, fields=["color"])
    assert {each["value"]: each["count"] for each in color["values"]} == {"blue": 4, "red": 6}


async def test_numbers_beyond_64_bits_are_values_too(client: httpx.AsyncClient) -> None:
    await fill(client, [{"n": 1e300}, {"n": -1e19}, {"n": 2**64 - 1}, {"n": 2.0}])
    (found,) = await facets(client, fields=["n"])
    assert {each["value"] for each in found["values"]} == {1e300, -1e19, 2**64 - 1, 2}


async def test_an_empty_collection_has_none(client: httpx.AsyncClient) -> None:
    await client.put("/collections/shapes", json=MODEL)
    assert await facets(client) == []


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"fields": "color"}, 400, "fields"),
        ({"fields": []}, 400, "fields"),
        ({"fields": ["a"] * 17}, 400, "fields"),
        ({"fields": [1]}, 400, "fields"),
        ({"values": 0}, 400, "values"),
        ({"values": True}, 400, "values"),
        ({"filter": {"a": {"$near": 1}}}, 400, "filter"),
    ],
)
async def test_bad_requests(client: httpx.AsyncClient, body: dict[str, Any], status: int, param: str) -> None:
    await client.put("/collections/shapes", json=MODEL)
    answer = await client.post("/collections/shapes/facets", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert (await client.post("/collections/none/facets", json={})).status_code == 404
