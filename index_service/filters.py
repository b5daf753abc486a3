"""Mongo-style filters over metadata, compiled once to a predicate.

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

import operator
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from clip_core.errors import BadFilter

Predicate = Callable[[Mapping[str, Any]], bool]
_Test = Callable[[Any], bool]
_MISSING = object()
_MAX_DEPTH = 32
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def canonical(filter_: Mapping[str, Any]) -> bytes:
    """The filter as JSON with sorted keys: equal filters give equal bytes. Raises BadFilter when nested too deep."""
    try:
        return orjson.dumps(filter_, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise BadFilter("the filter is nested too deep", param="filter") from error


@lru_cache(maxsize=256)
def compile_filter(text: bytes) -> Predicate:
    """A canonical filter → a function of one item's metadata. Raises BadFilter that names what is wrong."""
    return _all_of(orjson.loads(text), 0)


def _all_of(filter_: object, depth: int) -> Predicate:
    if not isinstance(filter_, Mapping):
        raise BadFilter(f"a filter is an object, not {_show(filter_)}", param="filter")
    if depth > _MAX_DEPTH:
        raise BadFilter(f"the filter is nested deeper than {_MAX_DEPTH} levels", param="filter")
    parts = [_clause(key, value, depth + 1) for key, value in filter_.items()]
    return parts[0] if len(parts) == 1 else lambda document: all(part(document) for part in parts)


def _clause(key: str, value: object, depth: int) -> Predicate:
    if key == "$not":
        inner = _all_of(value, depth)
        return lambda document: not inner(document)
    if key in ("$and", "$or"):
        return _joined(key, value, depth)
    if key.startswith("$"):
        raise BadFilter(f"unknown operator {key}", param="filter")
    test, path = _field_test(value, depth), tuple(key.split("."))
    return lambda document: test(_look_up(document, key, path))


def _joined(key: str, value: object, depth: int) -> Predicate:
    if not isinstance(value, list) or not value:
        raise BadFilter(f"{key} takes a list of at least one filter", param="filter")
    parts = [_all_of(part, depth) for part in value]
    join = all if key == "$and" else any
    return lambda document: join(part(document) for part in parts)


def _look_up(document: Mapping[str, Any], key: str, path: tuple[str, ...]) -> Any:
    if key in document:
        return document[key]
    value: Any = document
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _field_test(value: object, depth: int) -> _Test:
    if not isinstance(value, Mapping) or not any(key.startswith("$") for key in value):
        return _equals("$eq", value)
    if depth > _MAX_DEPTH:
        raise BadFilter(f"the filter is nested deeper than {_MAX_DEPTH} levels", param="filter")
    tests = [_operator_test(name, operand, depth + 1) for name, operand in value.items()]
    return tests[0] if len(tests) == 1 else lambda found: all(test(found) for test in tests)


def _operator_test(name: str, operand: object, depth: int) -> _Test:
    if name in ("$ne", "$nin", "$not"):
        inner = _field_test(operand, depth) if name == "$not" else _equals(name, operand)
        return lambda found: not inner(found)
    if name in ("$eq", "$in"):
        return _equals(name, operand)
    if name in _ORDERS:
        return _compares(name, operand)
    if name == "$exists":
        return _exists(operand)
    raise BadFilter(f"unknown operator {name}", param="filter")


def _equals(name: str, operand: object) -> _Test:
    if name in ("$in", "$nin") and not isinstance(operand, list):
        raise BadFilter(f"{name} takes a list, not {_show(operand)}", param="filter")
    wanted = {identity(x) for x in operand} if name in ("$in", "$nin") and isinstance(operand, list) else None
    keys = {identity(operand)} if wanted is None else wanted
    return lambda found: any(identity(value) in keys for value in _candidates(found))


def _compares(name: str, operand: object) -> _Test:
    kind = _kind(operand)
    if kind not in ("number", "string"):
        raise BadFilter(f"{name} takes a number or a string, not {_show(operand)}", param="filter")
    order = _ORDERS[name]
    return lambda found: any(_kind(value) == kind and order(value, operand) for value in _candidates(found))


def _exists(operand: object) -> _Test:
    if not isinstance(operand, bool):
        raise BadFilter(f"$exists takes true or false, not {_show(operand)}", param="filter")
    return lambda found: (found is not _MISSING) is operand


def _candidates(found: Any) -> tuple[Any, ...]:
    if found is _MISSING:
        return ()
    return (found, *found) if isinstance(found, list) else (found,)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "other"


def identity(value: Any) -> Hashable:
    """A hashable stand-in: two JSON values are equal, types included, exactly when these are."""
    if isinstance(value, list):
        return "list", tuple(identity(x) for x in value)
    if isinstance(value, dict):
        return "object", frozenset((key, identity(x)) for key, x in value.items())
    return _kind(value), value


def _show(value: object) -> str:
    return orjson.dumps(value).decode()[:80]
