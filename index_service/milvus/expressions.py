"""A filter → expressions of Milvus over `terms` and `ranges`: one that no match fails, one that only matches pass.

Most filters have one expression that is both. Where numbers beyond 2^53 or long texts are compared the two differ, and
what is between them is decided by the filter itself, on the items' metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from index_service.metadata.bounded_cache import BoundedCache
from index_service.metadata.predicates import kind
from index_service.milvus.rows import literal
from index_service.milvus.terms import EXACT, TEXT_CHARS, equals, has, key_of, present, rounded

_ALL, _NOTHING = "seq >= 0", "seq < 0"
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\"'\\]")  # what has to be escaped in a literal of Milvus
_INF = float("inf")
_KEPT_BYTES = 4 << 20  # of expressions


class Expression(NamedTuple):
    """`over` lets through every item that the filter does, `under` only such items. Both leave partial items open."""

    over: str
    under: str

    @property
    def exact(self) -> bool:
        """Whether nothing is left open but partial items."""
        return self.over == self.under

    @property
    def candidates(self) -> str:
        """Items that the filter may let through."""
        return f"({self.over}) or partial == true"


_made: BoundedCache[bytes, Expression] = BoundedCache(_KEPT_BYTES)


def expression_of(where: bytes) -> Expression:
    """Of a canonical filter that compiles."""
    known = _made.get(where)
    if known is None:
        known = _all_of(orjson.loads(where))
        _made.put(where, known, len(where) + len(known.over) + len(known.under))
    return known


def _all_of(filter_: dict[str, Any]) -> Expression:
    return _joined(" and ", (_clause(key, value) for key, value in filter_.items()), _ALL)


def _joined(word: str, parts: Iterable[Expression], empty: str) -> Expression:
    given = list(parts)
    return _tree(word, given) if given else Expression(empty, empty)


def _tree(word: str, parts: list[Expression]) -> Expression:
    """Halved again and again: Milvus takes seconds to parse some hundred in one row, and nests them as deep."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    one, other = _tree(word, parts[:half]), _tree(word, parts[half:])
    over, under = (f"({left}){word}({right})" for left, right in zip(one, other, strict=True))
    return Expression(over, under)


def _not(inner: Expression) -> Expression:
    return Expression(f"not ({inner.under})", f"not ({inner.over})")


def _clause(key: str, value: Any) -> Expression:
    if key == "$not":
        return _not(_all_of(value))
    if key == "$and":
        return _joined(" and ", map(_all_of, value), _ALL)
    if key == "$or":
        return _joined(" or ", map(_all_of, value), _NOTHING)
    return _condition(key, value)


def _condition(path: str, value: Any) -> Expression:
    if not isinstance(value, dict) or not any(name.startswith("$") for name in value):
        return _equals(path, [value])
    return _joined(" and ", (_operator(path, name, operand) for name, operand in value.items()), _ALL)


def _operator(path: str, name: str, operand: Any) -> Expression:
    if name == "$not":
        return _not(_condition(path, operand))
    if name in ("$ne", "$nin"):
        return _not(_equals(path, [operand] if name == "$ne" else operand))
    if name in ("$eq", "$in"):
        return _equals(path, [operand] if name == "$eq" else operand)
    if name == "$exists":
        there = _contains([present(path)])
        return there if operand else _not(there)
    return _compares(path, name, operand)


def _equals(path: str, operands: list[Any]) -> Expression:
    return _contains([equals(path, operand) for operand in operands])


def _contains(terms: list[int]) -> Expression:
    wanted = sorted(set(terms))
    if not wanted:
        return Expression(_NOTHING, _NOTHING)
    one = f"array_contains(terms, {wanted[0]})"
    text = one if len(wanted) == 1 else f"array_contains_any(terms, {wanted})"
    return Expression(text, text)


def _compares(path: str, name: str, operand: Any) -> Expression:
    """Guarded by a term, so that it is never asked of an item without such a value."""
    what = kind(operand)
    guard = _contains([has(path, what)]).over
    if what == "string":
        if len(operand) >= TEXT_CHARS or _ODD.search(operand):
            return Expression(guard, _NOTHING)
        text = f"{guard} and {_compared(path, what, name, literal(operand))}"
        return Expression(text, text)
    if abs(operand) < EXACT:
        text = f"{guard} and {_compared(path, what, name, _number(float(operand)))}"
        return Expression(text, text)
    wider = rounded(operand, -_INF if name in ("$gt", "$gte") else _INF)
    if abs(wider) == _INF or abs(wider) > 1e300:
        return Expression(guard, _NOTHING)
    return Expression(f"{guard} and {_compared(path, what, name[:3] + 'e', _number(wider))}", _NOTHING)


def _compared(path: str, what: str, name: str, operand: str) -> str:
    end = 1 if name in ("$gt", "$gte") else 0
    sign = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}[name]
    return f'ranges["{key_of(path, what)}"][{end}] {sign} {operand}'


def _number(value: float) -> str:
    """As Milvus reads float64: with a point."""
    return repr(value)
