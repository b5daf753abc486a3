"""One field of many documents as a column: evaluated for a filter without looking at the documents again.

Numbers lie in an array of their own. All other values are numbered in the order in which they first appear, and a
filter asks each distinct value once, or looks its operands up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from index_service.engines.base import BoolArray, IntArray
from index_service.metadata.columns import Growing
from index_service.metadata.predicates import MISSING, Condition, Equals, identity

DIGEST = "digest"  # SHA-256 of an item's picture, which the gateway writes there
_NUMBER, _MISSING = 0, 1  # the codes of a value that is in `numbers`, and of none
_EXACT = 1 << 53  # whole numbers up to here are float64


class FieldCounts(NamedTuple):
    """(value, items with it) of every string, number and boolean; `missing`: items with none of these."""

    values: list[tuple[Any, int]]
    missing: int


class Field:
    """The values of `key` (looked up whole first, then along its dots) in documents that are only ever added."""

    def __init__(self, key: str) -> None:
        self.key, self._path = key, tuple(key.split("."))
        self._values: list[Any] = [None, MISSING]
        self._codes: dict[Hashable, int] = {MISSING: _MISSING}
        self._lists: list[int] = []
        self._rows, self._numbers = Growing((), np.int32), Growing((), np.float64)
        self.rows, self.numbers = self._rows.put(0, np.empty(0)), self._numbers.put(0, np.empty(0))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def distinct(self) -> int:
        """Values that are no plain numbers, each counted once."""
        return len(self._values)

    def extend(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Add documents at the end."""
        key, path, codes, numbers = self.key, self._path, list[int](), list[float]()
        for document in documents:
            value = document[key] if key in document else look_up(document, path)
            plain = type(value) is float or (type(value) is int and -_EXACT <= value <= _EXACT)
            codes.append(_NUMBER if plain else self._code(value))
            numbers.append(value if plain else np.nan)
        start = len(self)
        self.numbers = self._numbers.put(start, np.array(numbers))
        self.rows = self._rows.put(start, np.array(codes, np.int32))

    def _code(self, value: Any) -> int:
        known: Hashable = value if value is MISSING else identity(value)
        code = self._codes.get(known)
        if code is None:
            code = len(self._values)
            self._values.append(value)
            if isinstance(value, list):
                self._lists.append(code)
            self._codes[known] = code  # last: a code that is known has its value
        return code

    def mask(self, condition: Condition, count: int) -> BoolArray:
        """(count,): where `condition` holds, among the first `count` documents."""
        rows, numbers = self.rows[:count], self.numbers[:count]
        holds: BoolArray = self._table(condition)[rows]
        plain = rows == _NUMBER
        return np.where(plain, condition.numbers(numbers), holds) if plain.any() else holds

    def counts(self, allowed: BoolArray) -> FieldCounts:
        """How often each plain value occurs among the documents that `allowed` (count,) lets through."""
        rows, numbers = self.rows[: len(allowed)][allowed], self.numbers[: len(allowed)][allowed]
        distinct, often = np.unique(numbers[rows == _NUMBER], return_counts=True)
        values = [(_as_written(each), n) for each, n in zip(distinct.tolist(), often.tolist(), strict=True)]
        by_code = np.bincount(rows, minlength=len(self._values)).tolist()
        plain = (code for code in range(1, len(by_code)) if by_code[code] and isinstance(self._values[code], str | int))
        values += [(self._values[code], by_code[code]) for code in plain]
        return FieldCounts(values, len(rows) - sum(n for _, n in values))

    def _table(self, condition: Condition) -> BoolArray:
        """(distinct values,): where `condition` holds."""
        values = self._values
        if not isinstance(condition, Equals):
            return np.array([False, *(condition(value) for value in values[1:])])
        table = np.zeros(len(values), np.bool_)
        table[[self._codes[key] for key in condition.keys if key in self._codes]] = True
        table[self._lists] = [condition(values[code]) for code in self._lists]
        return table

    def taken(self, places: IntArray) -> Field:
        """The same field of the documents at `places`, ascending; those beyond the end aren't taken."""
        after = Field(self.key)
        after._values, after._codes, after._lists = list(self._values), dict(self._codes), list(self._lists)
        places = places[: np.searchsorted(places, len(self))]
        after.rows, after.numbers = after._rows.put(0, self.rows[places]), after._numbers.put(0, self.numbers[places])
        after._shed()
        return after

    def _shed(self) -> None:
        """Forget the values that no document has any more, once they outnumber the others."""
        used = np.zeros(len(self._values), np.bool_)
        used[self.rows] = True
        used[[_NUMBER, _MISSING]] = True
        if 2 * np.count_nonzero(used) >= len(used):
            return
        codes = np.cumsum(used) - 1
        after, kept = codes.tolist(), used.tolist()
        self._values = [value for value, keeps in zip(self._values, kept, strict=True) if keeps]
        self._codes = {known: after[code] for known, code in self._codes.items() if kept[code]}
        self._lists = [after[code] for code in self._lists if kept[code]]
        self.rows[:] = codes[self.rows]


def _as_written(number: float) -> float | int:
    """2.0 → 2: JSON and filters know one kind of number. Whole numbers beyond 64 bits were written as 1e300."""
    return int(number) if number.is_integer() and -(2.0**63) <= number < 2.0**64 else number


def look_up(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at the end of `path`, or MISSING."""
    value: Any = document
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value
