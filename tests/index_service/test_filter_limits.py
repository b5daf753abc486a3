"""Filters are bounded, and so is what is kept of them: one caller's filters never fill the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.wire import MAX_FILTER_BYTES, encode_vector
from index_service.collection.registry import Registry
from index_service.metadata import filters
from index_service.metadata.bounded_cache import BoundedCache
from index_service.metadata.columns import Blobs, Packed
from index_service.metadata.fields import Field
from index_service.metadata.filters import MAX_CONDITIONS, MAX_FIELDS, MAX_OPERANDS, canonical, compile_filter
from index_service.metadata.masks import FilterMasks
from index_service.metadata.predicates import Equals, identity
from index_service.settings import IndexSettings
from tests.index_service.helpers import http_of, unit_rows

LARGE: list[tuple[dict[str, Any], str]] = [
    ({"a": "x" * MAX_FILTER_BYTES}, f"{MAX_FILTER_BYTES} go"),
    ({"a": {"$in": ["x" * 1000] * 300}}, f"{MAX_FILTER_BYTES} go"),
    ({"a": {"$in": [1] * (MAX_OPERANDS + 1)}}, f"{MAX_OPERANDS} go"),
    ({"a": {"$not": {"$nin": [*range(MAX_OPERANDS + 1)]}}}, f"{MAX_OPERANDS} go"),
    ({f"f{n}": 1 for n in range(MAX_FIELDS + 1)}, f"{MAX_FIELDS} go"),
    ({"$or": [{"$not": {f"f{n}": 1}} for n in range(MAX_FIELDS + 1)]}, f"{MAX_FIELDS} go"),
    ({"$or": [{"a": n} for n in range(MAX_CONDITIONS + 1)]}, f"{MAX_CONDITIONS} go"),
    ({"$and": [{"$or": [{"a": n}, {"$not": {"a": n}}]} for n in range(MAX_CONDITIONS)]}, f"{MAX_CONDITIONS} go"),
]


@pytest.mark.parametrize(("filter_", "says"), LARGE)
async def test_too_large_a_filter_is_refused_everywhere(
    filter_: dict[str, Any], says: str, settings: IndexSettings, registry: Registry
) -> None:
    async with http_of(settings.model_copy(update={"max_body_bytes": 2**20}), registry) as client:
        await client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": 4})
        search = {"collection": "c", "vector": encode_vector(unit_rows(1, 4)[0]), "filter": filter_}
        result = (await client.post("/search", json={"searches": [search]})).json()["results"][0]
        facets = await client.post("/collections/c/facets", json={"filter": filter_})
        deleted = await client.post("/collections/c/items/delete", json={"filter": filter_})
    assert [result["status"], facets.status_code, deleted.status_code] == [400] * 3
    for answer in (result, facets.json(), deleted.json()):
        assert (answer["error"]["code"], says in answer["error"]["message"]) == ("invalid_filter", True)


def test_the_largest_filters_are_taken() -> None:
    assert compile_filter(canonical({"a": {"$in": [*range(MAX_OPERANDS)]}}))({"a": 7})
    assert compile_filter(canonical({"$or": [{"a": n} for n in range(MAX_CONDITIONS)]}))({"a": 7})
    assert compile_filter(canonical({f"f{n}": 1 for n in range(MAX_FIELDS)}))({f"f{n}": 1 for n in range(MAX_FIELDS)})


def test_compiled_filters_are_kept_by_bytes() -> None:
    for start in range(8):
        compile_filter(canonical({"a": {"$in": [f"{start}-{n:019}" for n in range(MAX_OPERANDS)]}}))
        assert 0 < filters._compiled.bytes <= 1 << 20
    assert compile_filter(canonical({"a": 1})) is compile_filter(canonical({"a": 1}))


def test_masks_are_kept_by_bytes() -> None:
    masks = FilterMasks(Blobs(Packed.of([orjson.dumps({"n": n % 7}) for n in range(1000)])), kept_bytes=5000)
    for n in range(100):
        assert np.count_nonzero(masks.mask(canonical({"n": n % 7, "m": {"$ne": n}}), 1000)) in (142, 143)
    assert masks._masks.bytes <= 5000


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=30), st.integers(1, 100))
def test_a_bounded_cache_holds_what_was_used_last(puts: list[tuple[int, int]], most: int) -> None:
    cache: BoundedCache[int, int] = BoundedCache(most)
    sizes: dict[int, int] = {}
    for key, size in puts:
        cache.put(key, size, size)
        sizes[key] = size
        assert cache.get(key) == size
        held = {each: each_size for each, each_size in sizes.items() if cache.get(each) is not None}
        assert all(cache.get(each) == each_size for each, each_size in held.items())
        assert cache.bytes == sum(held.values())
        assert cache.bytes <= most or len(held) == 1
        sizes = held


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=2), st.lists(st.text(max_size=1)))


@given(st.lists(VALUES, max_size=40), st.data())
def test_a_column_sheds_values_that_are_gone_and_keeps_the_others(values: list[Any], data: st.DataObject) -> None:
    field = Field("a")
    field.extend([{"a": value} for value in values])
    kept = sorted(data.draw(st.sets(st.sampled_from(range(len(values)))))) if values else []
    after = field.taken(np.array(kept, np.int64))
    rest = [values[row] for row in kept]
    for wanted in [*values, "new"]:
        test = Equals(frozenset({identity(wanted)}))
        assert after.mask(test, len(rest)).tolist() == [test(value) for value in rest]
    after.extend([{"a": value} for value in values])
    assert after.counts(np.ones(len(after), np.bool_)).missing == sum(
        not isinstance(value, str | int) for value in [*rest, *values]
    )


def test_values_of_replaced_rows_are_not_kept_for_ever() -> None:
    field = Field("a")
    for turn in range(50):
        field.extend([{"a": f"{turn} {n}"} for n in range(100)])
        field = field.taken(np.arange(len(field) - 100, len(field)))
    assert len(field._values) <= 2 * 100 + 4
    assert field.mask(Equals(frozenset({"49 7"})), 100).tolist() == [n == 7 for n in range(100)]
