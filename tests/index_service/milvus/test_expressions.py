"""Filters as expressions against the reference interpreter: no match is left out, and nothing else passes unseen."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from index_service.metadata.filters import canonical
from index_service.milvus.expressions import Expression, expression_of
from index_service.milvus.schema import MAX_TERMS
from index_service.milvus.terms import Terms, canonical_text, paths_of, terms_of
from tests.index_service.test_filters import DOCUMENTS, FILTERS, VALUES, equal, found, reference

LONG = st.sampled_from(["a" * 63, "a" * 64, "a" * 65, "a" * 64 + "b", 'q"u', "o\\n", "it's", "\x00", "\x7f", "€"])
TEXTS = st.fixed_dictionaries({"x": st.fixed_dictionaries({"$gte": LONG}) | st.fixed_dictionaries({"$lt": LONG})})


class Ranges:
    """`ranges[key][end]` as Milvus compares it: never true for what is missing."""

    def __init__(self, ranges: dict[str, list[Any]]) -> None:
        self._ranges = ranges

    def __getitem__(self, key: str) -> Any:
        return self._ranges.get(key, [Nothing(), Nothing()])


class Nothing:
    """Compares as false to all."""

    def __lt__(self, other: object) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__


def passes(text: str, terms: Terms) -> bool:
    """An expression of ours is Python too."""
    names = {
        "terms": set(terms.terms),
        "ranges": Ranges(orjson.loads(terms.ranges)),
        "partial": terms.partial,
        "true": True,
        "seq": 1,
        "array_contains": lambda held, one: one in held,
        "array_contains_any": lambda held, some: not held.isdisjoint(some),
    }
    return bool(eval(text, {"__builtins__": {}}, names))


def check(filter_: dict[str, Any], document: dict[str, Any]) -> Expression:
    expression, terms = expression_of(canonical(filter_)), terms_of(orjson.dumps(document))
    wanted = reference(filter_, document)
    assert passes(expression.over, terms) or not wanted
    assert not passes(expression.under, terms) or wanted
    assert passes(expression.candidates, terms) == (terms.partial or passes(expression.over, terms))
    return expression


@given(FILTERS, st.lists(DOCUMENTS, max_size=6))
def test_expressions_agree_with_the_reference(filter_: dict[str, Any], documents: list[dict[str, Any]]) -> None:
    for document in documents:
        check(filter_, document)


@given(TEXTS | TEXTS.map(lambda filter_: {"$not": filter_}), st.fixed_dictionaries({"x": LONG | st.lists(LONG)}))
def test_long_and_odd_texts_are_left_open(filter_: dict[str, Any], document: dict[str, Any]) -> None:
    check(filter_, document)


@given(DOCUMENTS)
def test_every_name_that_a_filter_may_give_is_a_path(document: dict[str, Any]) -> None:
    paths = list(paths_of(document))
    assert len({path for path, _ in paths}) == len(paths)
    for path, value in paths:
        assert equal(found(document, path)[0], value)
    for path in ("x", "y", "x.y", "y.x", "x.x.y", "z", ""):
        assert bool(found(document, path)) == (path in dict(paths))


@given(VALUES, VALUES)
def test_equal_values_have_the_same_text(one: Any, other: Any) -> None:
    assert (canonical_text(one) == canonical_text(other)) == equal(one, other)


def test_plain_filters_are_left_to_milvus_alone() -> None:
    for filter_ in ({"a": 1}, {"a": {"$ne": "x"}}, {"a.b": {"$gte": 1.5, "$lt": 10}}, {"t": {"$nin": [1, "é"]}}):
        assert expression_of(canonical(filter_)).exact
    assert not expression_of(canonical({"a": {"$gt": 2**53 + 1}})).exact


def test_an_item_of_too_many_values_is_looked_at_itself() -> None:
    document = {"many": list(range(MAX_TERMS))}
    terms = terms_of(orjson.dumps(document))
    assert terms.partial
    assert passes(check({"many": 5}, {"many": [5]}).candidates, terms)
