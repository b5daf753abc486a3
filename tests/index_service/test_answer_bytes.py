"""No answer is larger than its limit: what doesn't fit is told so, and everything beside it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.wire import FloatArray, encode_vector
from index_service.answers.facets import facets_of
from index_service.collection.registry import Registry
from index_service.http.pages import PageLimits, page_of
from index_service.record.store import CollectionInfo, Store, StoredItem
from index_service.search.call import SearchCall
from index_service.search.parsing import parse_call
from index_service.segments.view import View
from index_service.segments.view_cost import search_cost
from index_service.settings import IndexSettings
from tests.index_service.helpers import unit_rows
from tests.index_service.test_limits import serving

DIM, COUNT = 4, 40
ROWS = unit_rows(COUNT, DIM)


async def filled(client: httpx.AsyncClient, sizes: Sequence[int]) -> None:
    """One item for each size of its metadata."""
    items = [
        {"id": f"{n:03}", "vector": encode_vector(ROWS[n]), "metadata": {"t": "x" * size}}
        for n, size in enumerate(sizes)
    ]
    answer = await client.post("/collections/c/items", json={"items": items})
    assert {result["status"] for result in answer.json()["results"]} == {200}


def search(k: int, *include: str) -> dict[str, Any]:
    return {"collection": "c", "vector": encode_vector(ROWS[0]), "k": k, "include": list(include)}


async def answered(client: httpx.AsyncClient, searches: list[dict[str, Any]]) -> tuple[list[Any], int]:
    """The hits or the code of each, and the bytes of the answer."""
    answer = await client.post("/search", json={"searches": searches})
    assert answer.status_code == 200
    results = answer.json()["results"]
    shown = [len(one["hits"]) if one["status"] == 200 else (one["status"], one["error"]["code"]) for one in results]
    return shown, len(answer.content)


async def test_the_search_that_does_not_fit_is_413_and_its_neighbours_are_answered(store: Store) -> None:
    async with serving(store, max_answer_bytes=20_000) as client:
        await filled(client, [1000] * COUNT)
        large, small = search(30, "metadata"), search(3, "metadata")
        shown, size = await answered(client, [large, small, search(40), small, large])
        assert shown == [(413, "request_too_large"), 3, 40, 3, (413, "request_too_large")]
        assert size < 20_000
        assert (await answered(client, [search(15, "metadata")]))[0] == [15]
        many, size = await answered(client, [small] * 12)
        assert (many.count(3), size < 20_000 + 6 * 500) == (6, True)  # of which six are errors


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many queries each search of a view has."""
    counts, usual = list[int](), View.search

    def counted(self: View, queries: FloatArray, *given: Any) -> Any:
        counts.append(len(queries))
        return usual(self, queries, *given)

    monkeypatch.setattr(View, "search", counted)
    return counts


@pytest.mark.parametrize("filter_", [None, {"n": {"$gte": 0}}])
async def test_what_can_not_fit_any_more_is_not_searched(
    store: Store, searched: list[int], filter_: dict[str, Any] | None
) -> None:
    async with serving(store, max_answer_bytes=20_000) as client:
        items = [{"id": f"{n}", "vector": encode_vector(row), "metadata": {"n": n}} for n, row in enumerate(ROWS)]
        await client.post("/collections/c/items", json={"items": items})
        shown, _ = await answered(client, [{**search(40, "metadata", "vector"), "filter": filter_}] * 500)
        fitting = shown.count(40)
        assert 3 <= fitting <= 5
        assert shown == [40] * fitting + [(413, "request_too_large")] * (500 - fitting)
        assert sum(searched) <= fitting + 2


async def test_a_filter_that_leaves_little_makes_room_for_all(store: Store, searched: list[int]) -> None:
    async with serving(store, max_answer_bytes=20_000) as client:
        await filled(client, [10] * (COUNT - 1) + [11])
        few = {**search(40, "metadata"), "filter": {"t": "x" * 11}}
        assert (await answered(client, [few] * 150))[0] == [1] * 150
        assert len(searched) <= 5


async def parsed(store: Store, searches: list[dict[str, Any]]) -> SearchCall:
    """A call of a collection of like rows."""
    async with serving(store) as client:
        await filled(client, [500] * COUNT)
    registry = Registry(store, IndexSettings(data_dir=store.path.parent))
    registry.load()
    return parse_call(searches, None, registry)


@pytest.mark.parametrize("include", [(), ("metadata",), ("vector",), ("metadata", "vector")])
async def test_what_a_call_expects_is_what_its_answers_take(store: Store, include: tuple[str, ...]) -> None:
    """The same estimate decides which calls are large, what they cost and which of their searches go first."""
    call = await parsed(store, [search(k, *include) for k in (1, 10, 30)])
    size = len(orjson.dumps(call.run(10**9)[0], option=orjson.OPT_SERIALIZE_NUMPY))
    assert 0.6 * size < call.expected_bytes < 1.6 * size


async def test_the_cost_of_a_call_is_estimated_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = list[int]()

    def counted(*given: Any) -> int:
        costs.append(search_cost(*given))
        return costs[-1]

    monkeypatch.setattr("index_service.collection.searching.search_cost", counted)
    call = await parsed(store, [search(3, "metadata")])
    assert call.cost > 0
    assert not call.large
    assert len(costs) == 1


async def test_vectors_count_as_base64(store: Store) -> None:
    async with serving(store, max_answer_bytes=3000) as client:
        await filled(client, [1] * COUNT)
        assert (await answered(client, [search(40, "vector"), search(40)]))[0] == [(413, "request_too_large"), 40]


async def test_one_items_metadata_is_bounded_and_its_neighbours_get_in(store: Store) -> None:
    async with serving(store, max_metadata_bytes=100) as client:
        vector = encode_vector(ROWS[0])
        items = [{"id": f"{n}", "vector": vector, "metadata": {"t": "x" * n}} for n in (10, 92, 93, 5000)]
        results = (await client.post("/collections/c/items", json={"items": items})).json()["results"]
        assert [result["status"] for result in results] == [200, 200, 413, 413]
        assert results[2]["error"]["param"] == "metadata"
        body = {"model": "m", "fingerprint": "f", "dim": DIM, "metadata": {"t": "x" * 100}}
        assert (await client.put("/collections/d", json=body)).status_code == 413


@pytest.mark.parametrize("query", ["", "&since=0", "&since=0&include=vector,source"])
async def test_a_listing_ends_early_and_goes_on_where_it_ended(store: Store, query: str) -> None:
    async with serving(store, max_answer_bytes=4000) as client:
        await filled(client, [n * 37 % 900 for n in range(COUNT - 1)] + [9000])
        seen, after = [], None
        while True:
            name = "since" if "since" in query else "after"
            where = query if after is None else f"{query.replace('since=0', '')}&{name}={after}"
            answer = await client.get(f"/collections/c/items?limit=30{where}")
            page = answer.json()
            assert len(answer.content) < 4000 or len(page["items"]) == 1
            seen += [item["id"] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert seen == [f"{n:03}" for n in range(COUNT)]


@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 200), st.integers(0, 20_000))
def test_a_page_is_the_longest_that_fits(sizes: list[int], limit: int, most: int) -> None:
    entries = list(enumerate(sizes, 1))
    page, more = page_of(
        lambda after, count: entries[after : after + count], 0, PageLimits(limit, most), lambda size: size
    )
    assert page == entries[: len(page)]
    assert more == (len(page) < len(entries))
    total = sum(size + 64 for _, size in page)
    assert total <= most or len(page) == 1
    if more:
        assert len(page) == limit or total + sizes[len(page)] + 64 > most


async def test_long_values_of_facets_are_cut_to_fit(store: Store) -> None:
    async with serving(store, max_answer_bytes=10_000) as client:
        await filled(client, [500 + n for n in range(COUNT)])
        answer = await client.post("/collections/c/facets", json={"fields": ["t", "u"], "values": 1000})
        (facet, _) = answer.json()["facets"]
        assert (facet["distinct"], len(answer.content) < 10_000) == (COUNT, True)
        assert 5 < len(facet["values"]) < COUNT


async def test_what_a_caller_sent_is_not_sent_back_for_each_of_its_searches(client: httpx.AsyncClient) -> None:
    long = "x" * 5000
    searches = [{"collection": long, "vector": [1.0]}] * 20
    answer = await client.post("/search", json={"searches": searches})
    assert len(answer.content) < 10_000
    assert (await client.post("/search", json={"searches": searches, "fingerprint": long})).status_code == 400


def test_long_documents_are_all_counted(registry: Registry) -> None:
    collection = registry.create(CollectionInfo("c", "m", "f", DIM))[0]
    documents = [{"t": "x" * 300_000, "n": n % 3} for n in range(10)]
    rows = ROWS[:10]
    items = [StoredItem(str(n), row.tobytes(), orjson.dumps(documents[n])) for n, row in enumerate(rows)]
    collection.upsert(items, rows)
    (facet,) = facets_of(collection.view, ["n"], None, 10, 1000)
    assert facet.values == [(0, 4), (1, 3), (2, 3)]
