"""Mongo-style filters over metadata, compiled once: to a predicate of one document, and to masks over columns.

A filter is an object; all its entries must hold. `{"color": "red"}` is `{"color": {"$eq": "red"}}`.

| operator | holds when |
| --- | --- |
| `$eq` `$in` | the value equals the operand, or one of the operands |
| `$ne` `$nin` | `$eq`, `$in` doesn't hold; so a **missing** field matches |
| `$gt` `$gte` `$lt` `$lte` | both are numbers, or both are strings (by code point), and compare so |
| `$exists` | the field is there (`true`) or isn't (`false`); null is there |
| `$and` `$or` `$not` | all, any, none of the filters inside; `$not` also stands after a field name |

- Values of different types never match: `1` isn't `"1"`, `true` isn't `1`, null isn't a missing field.
  Whole and fractional numbers are one type (`1` equals `1.0`); NaN and infinity aren't JSON and can't occur.
- `a.b` means `{"a": {"b": …}}`. A key that itself holds the dots is looked for first.
- A list in the metadata matches when the list as a whole or any element of it does: `{"tags": "red"}` finds
  `["red", "round"]`. As ever, `$ne` and `$nin` are the negation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
import orjson

from clip_core.errors import BadFilter
from clip_core.wire import filter_text
from index_service.engines.base import BoolArray
from index_service.metadata.bounded_cache import BoundedCache
from index_service.metadata.fields import look_up
from index_service.metadata.predicates import ORDERS, All, Compares, Condition, Equals, Exists, Not, identity, kind

MAX_FIELDS, MAX_CONDITIONS, MAX_OPERANDS = 32, 512, 10_000
_MAX_DEPTH = 32
_KEPT_BYTES = 1 << 20  # of the text of compiled filters, which take up to sixty times as much
Evaluate = Callable[[str, Condition], BoolArray]
"""A field's key and a condition on its value → (N,)."""


class Filter(Protocol):
    """A compiled filter."""

    def __call__(self, document: Mapping[str, Any]) -> bool:
        """Whether it lets one item's metadata through."""
        ...

    def mask(self, evaluate: Evaluate) -> BoolArray:
        """(N,): the same for N items, whose fields `evaluate` knows."""
        ...

    def keys(self) -> set[str]:
        """The fields that it asks about."""
        ...

    def conditions(self) -> int:
        """How many masks it takes."""
        ...


@dataclass(frozen=True)
class _Field:
    key: str
    path: tuple[str, ...]
    condition: Condition

    def __call__(self, document: Mapping[str, Any]) -> bool:
        return self.condition(document[self.key] if self.key in document else look_up(document, self.path))

    def mask(self, evaluate: Evaluate) -> BoolArray:
        return evaluate(self.key, self.condition)

    def keys(self) -> set[str]:
        return {self.key}

    def conditions(self) -> int:
        return 1


@dataclass(frozen=True)
class _Joined:
    """All of `parts`, or any."""

    every: bool
    parts: tuple[Filter, ...]

    def __call__(self, document: Mapping[str, Any]) -> bool:
        join = all if self.every else any
        return join(part(document) for part in self.parts)

    def mask(self, evaluate: Evaluate) -> BoolArray:
        join = np.logical_and if self.every else np.logical_or
        return reduce(join, (part.mask(evaluate) for part in self.parts))

    def keys(self) -> set[str]:
        return set().union(*(part.keys() for part in self.parts))

    def conditions(self) -> int:
        return sum(part.conditions() for part in self.parts)


@dataclass(frozen=True)
class _Negated:
    inner: Filter

    def __call__(self, document: Mapping[str, Any]) -> bool:
        return not self.inner(document)

    def mask(self, evaluate: Evaluate) -> BoolArray:
        return ~self.inner.mask(evaluate)

    def keys(self) -> set[str]:
        return self.inner.keys()

    def conditions(self) -> int:
        return self.inner.conditions()


_compiled: BoundedCache[bytes, Filter] = BoundedCache(_KEPT_BYTES)


def canonical(filter_: Mapping[str, Any]) -> bytes:
    """The filter as JSON with sorted keys: equal filters give equal bytes. Raises BadFilter."""
    return filter_text(filter_, orjson.OPT_SORT_KEYS)


def compile_filter(text: bytes) -> Filter:
    """A canonical filter → what it lets through. Raises BadFilter that names what is wrong."""
    known = _compiled.get(text)
    if known is None:
        known = _all_of(orjson.loads(text), 0)
        _check_size(known)
        _compiled.put(text, known, len(text))
    return known


def _check_size(filter_: Filter) -> None:
    for what, count, most in (
        ("fields", len(filter_.keys()), MAX_FIELDS),
        ("conditions", filter_.conditions(), MAX_CONDITIONS),
    ):
        if count > most:
            raise BadFilter(
                f"the filter has {count} {what}, at most {most} go: use $in for many values", param="filter"
            )


def _all_of(filter_: object, depth: int) -> Filter:
    if not isinstance(filter_, Mapping):
        raise BadFilter(f"a filter is an object, not {_show(filter_)}", param="filter")
    if depth > _MAX_DEPTH:
        raise BadFilter(f"the filter is nested deeper than {_MAX_DEPTH} levels", param="filter")
    if not filter_:  # lets everything through
        return _Negated(_Joined(False, (_Field("", ("",), Equals(frozenset())),)))
    parts = tuple(_clause(key, value, depth + 1) for key, value in filter_.items())
    return parts[0] if len(parts) == 1 else _Joined(True, parts)


def _clause(key: str, value: object, depth: int) -> Filter:
    if key == "$not":
        return _Negated(_all_of(value, depth))
    if key in ("$and", "$or"):
        return _joined(key, value, depth)
    if key.startswith("$"):
        raise BadFilter(f"unknown operator {key}", param="filter")
    return _Field(key, tuple(key.split(".")), _field_condition(value, depth))


def _joined(key: str, value: object, depth: int) -> Filter:
    if not isinstance(value, list) or not value:
        raise BadFilter(f"{key} takes a list of at least one filter", param="filter")
    return _Joined(key == "$and", tuple(_all_of(part, depth) for part in value))


def _field_condition(value: object, depth: int) -> Condition:
    if not isinstance(value, Mapping) or not any(key.startswith("$") for key in value):
        return _equals("$eq", value)
    if depth > _MAX_DEPTH:
        raise BadFilter(f"the filter is nested deeper than {_MAX_DEPTH} levels", param="filter")
    conditions = tuple(_operator_condition(name, operand, depth + 1) for name, operand in value.items())
    return conditions[0] if len(conditions) == 1 else All(conditions)


def _operator_condition(name: str, operand: object, depth: int) -> Condition:
    if name == "$not":
        return Not(_field_condition(operand, depth))
    if name in ("$ne", "$nin"):
        return Not(_equals(name, operand))
    if name in ("$eq", "$in"):
        return _equals(name, operand)
    if name in ORDERS:
        return _compares(name, operand)
    if name == "$exists":
        return _exists(operand)
    raise BadFilter(f"unknown operator {name}", param="filter")


def _equals(name: str, operand: object) -> Condition:
    if name not in ("$in", "$nin"):
        return Equals(frozenset({identity(operand)}))
    if not isinstance(operand, list):
        raise BadFilter(f"{name} takes a list, not {_show(operand)}", param="filter")
    if len(operand) > MAX_OPERANDS:
        raise BadFilter(f"{name} has {len(operand)} values, at most {MAX_OPERANDS} go", param="filter")
    return Equals(frozenset(map(identity, operand)))


def _compares(name: str, operand: object) -> Condition:
    if kind(operand) not in ("number", "string"):
        raise BadFilter(f"{name} takes a number or a string, not {_show(operand)}", param="filter")
    return Compares(name, kind(operand), operand)


def _exists(operand: object) -> Condition:
    if not isinstance(operand, bool):
        raise BadFilter(f"$exists takes true or false, not {_show(operand)}", param="filter")
    return Exists(operand)


def _show(value: object) -> str:
    return orjson.dumps(value).decode()[:80]
