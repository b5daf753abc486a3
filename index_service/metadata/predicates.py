"""Conditions on a value: `condition(found)` for any JSON value, `condition.numbers(x)` for many numbers at once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index_service.engines.base import BoolArray

MISSING = object()
ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_Numbers = NDArray[np.float64]


class Condition(Protocol):
    """A question about the value of one field."""

    def __call__(self, found: Any) -> bool:
        """Whether it holds for `found`: a JSON value, or MISSING."""
        ...

    def numbers(self, x: _Numbers) -> BoolArray:
        """(N,) float64, NaN where there is no number → (N,), the same answers where there is one."""
        ...


@dataclass(frozen=True)
class Equals:
    """The value, or an element of a list, has one of these identities."""

    keys: frozenset[Hashable]

    def __call__(self, found: Any) -> bool:
        return any(identity(value) in self.keys for value in _candidates(found))

    def numbers(self, x: _Numbers) -> BoolArray:
        """See `Condition.numbers`; a whole number that no float64 equals is none of them."""
        wanted = [key[1] for key in self.keys if isinstance(key, tuple) and key[0] == "number"]
        return np.isin(x, [float(number) for number in wanted if float(number) == number])


@dataclass(frozen=True)
class Compares:
    """The value, or an element of a list, is of the operand's kind and in this order to it."""

    name: str
    kind: str
    operand: Any

    def __call__(self, found: Any) -> bool:
        order = ORDERS[self.name]
        return any(kind(value) == self.kind and order(value, self.operand) for value in _candidates(found))

    def numbers(self, x: _Numbers) -> BoolArray:
        """See `Condition.numbers`; exact even for a whole number that lies between two float64."""
        if self.kind != "number":
            return np.zeros(len(x), np.bool_)
        bound, name = float(self.operand), self.name
        if bound != self.operand:
            if name in ("$gt", "$gte"):
                name = "$gte" if bound > self.operand else "$gt"
            else:
                name = "$lt" if bound > self.operand else "$lte"
        holds: BoolArray = ORDERS[name](x, bound)
        return holds


@dataclass(frozen=True)
class Exists:
    """The field is there, or isn't."""

    wanted: bool

    def __call__(self, found: Any) -> bool:
        return (found is not MISSING) is self.wanted

    def numbers(self, x: _Numbers) -> BoolArray:
        """See `Condition.numbers`."""
        return np.full(len(x), self.wanted, np.bool_)


@dataclass(frozen=True)
class Not:
    """The other one doesn't hold."""

    inner: Condition

    def __call__(self, found: Any) -> bool:
        return not self.inner(found)

    def numbers(self, x: _Numbers) -> BoolArray:
        """See `Condition.numbers`."""
        return ~self.inner.numbers(x)


@dataclass(frozen=True)
class All:
    """All of them hold."""

    parts: tuple[Condition, ...]

    def __call__(self, found: Any) -> bool:
        return all(part(found) for part in self.parts)

    def numbers(self, x: _Numbers) -> BoolArray:
        """See `Condition.numbers`."""
        holds: BoolArray = np.logical_and.reduce([part.numbers(x) for part in self.parts])
        return holds


def _candidates(found: Any) -> tuple[Any, ...]:
    if found is MISSING:
        return ()
    return (found, *found) if isinstance(found, list) else (found,)


def kind(value: object) -> str:
    """Values of different kinds never match."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "other"


def identity(value: Any) -> Hashable:
    """A hashable stand-in: two JSON values are equal, types included, exactly when these are."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "list", tuple(identity(x) for x in value)
    if isinstance(value, dict):
        return "object", frozenset((key, identity(x)) for key, x in value.items())
    return kind(value), value
