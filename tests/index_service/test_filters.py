"""The compiled filters against an interpreter written straight from the module's table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadFilter
from index_service.metadata.columns import Blobs, Packed
from index_service.metadata.filters import canonical, compile_filter
from index_service.metadata.masks import FilterMasks

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, -1.5, 2.0**53, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1]),
    st.sampled_from(["", "1", "a", "b", "ä", "a\u0308", "\U0001f600", "\uffff"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=5,
)
KEYS = st.sampled_from(["x", "y", "x.y", "y.x", "z", "ü", ""])
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)
COMPARABLE = st.one_of(
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, 2.0**53, 2**53 + 1, 2**63 - 1, -(2**53) - 1]),
    st.sampled_from(["", "1", "a", "ä", "\U0001f600"]),
)
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), VALUES),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), COMPARABLE),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
)
TESTS = st.lists(OPERATIONS, min_size=1, max_size=2).map(dict)
FIELDS = st.dictionaries(KEYS, VALUES | TESTS | TESTS.map(lambda test: {"$not": test}), max_size=2)
FILTERS = st.recursive(
    FIELDS,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=5,
)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, dict)) or isinstance(b, (list, dict)):
        return False
    return a == b


def less(a: Any, b: Any) -> bool | None:
    """None: can't be compared."""
    for kind in ((int, float), str):
        if isinstance(a, kind) and isinstance(b, kind) and not isinstance(a, bool) and not isinstance(b, bool):
            return a < b
    return None


def found(document: dict[str, Any], key: str) -> list[Any]:
    """[] when missing, else [value]."""
    if key in document:
        return [document[key]]
    value: Any = document
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return []
        value = value[part]
    return [value]


def holds(name: str, operand: Any, values: list[Any]) -> bool:
    ways = values + [part for value in values if isinstance(value, list) for part in value]
    if name == "$not":
        return not all(holds(inner, x, values) for inner, x in operand.items())
    if name == "$exists":
        return bool(values) == operand
    if name in ("$ne", "$nin"):
        return not holds({"$ne": "$eq", "$nin": "$in"}[name], operand, values)
    if name == "$eq":
        return any(equal(way, operand) for way in ways)
    if name == "$in":
        return any(equal(way, x) for way in ways for x in operand)
    pairs = {
        "$lt": [less(way, operand) for way in ways],
        "$gt": [less(operand, way) for way in ways],
        "$lte": [None if less(operand, way) is None else not less(operand, way) for way in ways],
        "$gte": [None if less(way, operand) is None else not less(way, operand) for way in ways],
    }
    return any(pairs[name])


def reference(filter_: dict[str, Any], document: dict[str, Any]) -> bool:
    for key, value in filter_.items():
        if key == "$and":
            good = all(reference(part, document) for part in value)
        elif key == "$or":
            good = any(reference(part, document) for part in value)
        elif key == "$not":
            good = not reference(value, document)
        elif isinstance(value, dict) and any(name.startswith("$") for name in value):
            good = all(holds(name, operand, found(document, key)) for name, operand in value.items())
        else:
            good = holds("$eq", value, found(document, key))
        if not good:
            return False
    return True


def matches(filter_: dict[str, Any], document: dict[str, Any]) -> bool:
    return compile_filter(canonical(filter_))(document)


@given(FILTERS, DOCUMENTS)
def test_the_compiled_filter_agrees_with_the_reference(filter_: dict[str, Any], document: dict[str, Any]) -> None:
    assert matches(filter_, document) == reference(filter_, document)


def masks_of(documents: list[dict[str, Any]], main: int) -> FilterMasks:
    """Over documents of which the first `main` are packed as in a main segment."""
    texts = [orjson.dumps(document) for document in documents]
    blobs = Blobs(Packed.of(texts[:main]))
    blobs.put(main, texts[main:])
    return FilterMasks(blobs)


@given(st.lists(FILTERS, max_size=3), st.lists(DOCUMENTS, max_size=8), st.data())
def test_masks_agree_with_the_reference_as_rows_come_and_go(
    filters: list[dict[str, Any]], documents: list[dict[str, Any]], data: st.DataObject
) -> None:
    masks = masks_of(documents, data.draw(st.integers(0, len(documents))))
    counts = [*data.draw(st.lists(st.integers(0, len(documents)), max_size=3)), len(documents)]
    masks.expect(data.draw(st.lists(KEYS, max_size=3)))
    for count in counts:
        for filter_ in filters:
            masks.advance(data.draw(st.integers(0, len(documents))))
            expected = [reference(filter_, document) for document in documents[:count]]
            assert masks.mask(canonical(filter_), count).tolist() == expected
    kept = np.array(
        sorted(data.draw(st.sets(st.integers(0, max(len(documents) - 1, 0)), max_size=len(documents)))), int
    )
    rest = [documents[row] for row in kept]
    carried = masks.carried(Blobs(Packed.of([orjson.dumps(document) for document in rest])), kept)
    for filter_ in filters:
        assert carried.missing(canonical(filter_), len(rest)) == 0
        assert carried.mask(canonical(filter_), len(rest)).tolist() == [reference(filter_, d) for d in rest]


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte", "$eq", "$in", "$ne"])
@pytest.mark.parametrize("operand", [2**53 + 1, 2**53 - 1, 2.0**53, 2**63 - 1, 2**63 - 513, -(2**53) - 1, 0.1])
def test_numbers_beyond_the_precision_of_float64_compare_exactly(operator: str, operand: float) -> None:
    values = [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, 2.0**53 + 2, 2.0**63, 2**63 - 1, -(2.0**53) - 2, 0.1, 0, "1"]
    documents = [{"n": value} for value in values]
    filter_ = {"n": {operator: [operand] if operator == "$in" else operand}}
    expected = [reference(filter_, document) for document in documents]
    assert masks_of(documents, 5).mask(canonical(filter_), len(documents)).tolist() == expected


def test_many_filters_at_once_are_right_while_rows_are_parsed() -> None:
    documents = [{f"f{n}": row % (n + 2) for n in range(20)} for row in range(9000)]
    masks = masks_of(documents, 5000)
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda n: masks.mask(canonical({f"f{n % 20}": 1}), 9000), range(60))
    for n, mask in enumerate(found):
        assert np.array_equal(mask, np.arange(9000) % (n % 20 + 2) == 1)


@pytest.mark.parametrize(
    ("filter_", "document", "expected"),
    [
        ({"n": 1}, {"n": 1.0}, True),
        ({"n": 1}, {"n": True}, False),
        ({"n": 1}, {"n": "1"}, False),
        ({"n": None}, {}, False),
        ({"n": None}, {"n": None}, True),
        ({"n": {"$ne": 1}}, {}, True),
        ({"n": {"$nin": [1]}}, {}, True),
        ({"n": {"$lt": 1}}, {}, False),
        ({"n": {"$lt": 1}}, {"n": "0"}, False),
        ({"n": {"$gte": 2, "$lt": 4}}, {"n": 3}, True),
        ({"n": {"$exists": False}}, {}, True),
        ({"a.b": "x"}, {"a": {"b": "x"}}, True),
        ({"a.b": "x"}, {"a.b": "x"}, True),
        ({"tags": "red"}, {"tags": ["red", "round"]}, True),
        ({"tags": {"$ne": "red"}}, {"tags": ["red", "round"]}, False),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, True),
        ({"$or": [{"c": "red"}, {"n": {"$gt": 3}}]}, {"c": "blue", "n": 4}, True),
        ({}, {}, True),
    ],
)
def test_the_table(filter_: dict[str, Any], document: dict[str, Any], expected: bool) -> None:
    assert matches(filter_, document) is expected


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ({"n": {"$near": 1}}, r"\$near"),
        ({"$nor": [{}]}, r"\$nor"),
        ({"n": {"$gt": 1, "x": 2}}, "operator x"),
        ({"n": {"$in": 1}}, r"\$in takes a list"),
        ({"n": {"$gt": None}}, r"\$gt takes a number"),
        ({"n": {"$gt": True}}, r"\$gt takes a number"),
        ({"n": {"$exists": 1}}, r"\$exists takes"),
        ({"$and": []}, r"\$and takes"),
        ({"$or": {"a": 1}}, r"\$or takes"),
        ({"$not": 3}, "a filter is an object"),
    ],
)
def test_what_is_wrong_is_named(filter_: dict[str, Any], names: str) -> None:
    with pytest.raises(BadFilter, match=names):
        matches(filter_, {})


@pytest.mark.parametrize("levels", [40, 200, 5000])
def test_a_filter_too_deep_is_an_error_not_a_crash(levels: int) -> None:
    filter_: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        filter_ = {"$not": filter_}
    with pytest.raises(BadFilter, match="deep"):
        matches(filter_, {})
