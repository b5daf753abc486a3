"""What filters can ask about an item, derived from its metadata when it is written.

Milvus' own expressions over JSON differ from ours: for missing fields, null, numbers beside strings, lists, whole
numbers beyond 2^53, keys with dots. They also differ from one version of Milvus to the next. So an item carries

- `terms`: 64-bit hashes of "the value at this path, or an element of it, is this", "it has a value", "a number", "a
  text". Equality, presence and their negations are then `array_contains`, which knows two answers only.
- `ranges`: for each path the least and the greatest number, and the least and the greatest text. A list compares when
  any of its elements does, so for `>` the greatest decides.

Numbers beyond 2^53 are rounded outwards, texts are cut: what can't be decided then is told by `expressions.py`.
An item with more terms than an Array holds is marked `partial`, and is always looked at itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from index_service.metadata.predicates import kind
from index_service.milvus.schema import MAX_JSON_BYTES, MAX_TERMS

TEXT_CHARS = 64  # of a text that `ranges` holds
EXACT = 1 << 53
_MANY, _KEPT_CHARS = 1 << 15, 256  # hashes that are remembered, and most characters of what each is of


class Terms(NamedTuple):
    """Of one item."""

    terms: list[int]
    ranges: bytes
    partial: bool


_NONE = Terms([], b"{}", False)
_PARTIAL = Terms([], b"{}", True)


def terms_of(metadata: bytes) -> Terms:
    """Of an item whose metadata is this JSON text."""
    if metadata == b"{}":
        return _NONE
    document: Mapping[str, Any] = orjson.loads(metadata)
    terms: set[int] = set()
    ranges: dict[str, list[Any]] = {}
    for path, value in paths_of(document):
        elements = [value, *value] if isinstance(value, list) else [value]
        terms.add(present(path))
        terms.update(equals(path, element) for element in elements)
        for what in ("number", "string"):
            plain = [element for element in elements if kind(element) == what]
            if plain:
                terms.add(has(path, what))
                ranges[key_of(path, what)] = _ends(plain, what)
        if len(terms) > MAX_TERMS:
            return _PARTIAL
    text = orjson.dumps(ranges)
    return _PARTIAL if len(text) > MAX_JSON_BYTES else Terms(list(terms), text, False)


def paths_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every name that a filter may give, with the value that it finds: a key that holds dots comes before a path."""
    yield from document.items()
    for key, value in document.items():
        if isinstance(value, dict) and "." not in key:
            yield from ((path, inner) for path, inner in _below(key, value) if path not in document)


def _below(start: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if "." not in key:
            path = f"{start}.{key}"
            yield path, inner
            if isinstance(inner, dict):
                yield from _below(path, inner)


def _ends(plain: list[Any], what: str) -> list[Any]:
    if what == "string":
        return [min(plain)[:TEXT_CHARS], max(plain)[:TEXT_CHARS]]
    return [rounded(min(plain), -math.inf), rounded(max(plain), math.inf)]


def rounded(number: float, towards: float) -> float:
    """The number as float64, or the nearest one in that direction."""
    near = float(number)
    if near == number or (near > number) == (towards > 0):
        return near
    return math.nextafter(near, towards)


def present(path: str) -> int:
    """There is a value, perhaps null."""
    return _hash("is", path, "")


def has(path: str, what: str) -> int:
    """A number, or a text, is there or in the list there."""
    return _hash("has", path, what)


def equals(path: str, value: Any) -> int:
    """The value, or an element of the list there, is `value`."""
    return _hash("eq", path, value) if isinstance(value, str) else _hash("js", path, canonical_text(value))


def canonical_text(value: Any) -> str:
    """The same text for values that are equal as filters compare them: 1 and 1.0, but not 1 and true."""
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{orjson.dumps(key).decode()}:{canonical_text(value[key])}" for key in sorted(value)) + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(map(canonical_text, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return orjson.dumps(value).decode()


def _hash(what: str, path: str, value: str) -> int:
    """Of short values it is remembered: they come again."""
    return (_kept_hash if len(path) + len(value) <= _KEPT_CHARS else _new_hash)(what, path, value)


def _new_hash(what: str, path: str, value: str) -> int:
    """From -(2^63) + 1, since Milvus reads no smaller number."""
    text = f"{what}\0{len(path)}\0{path}\0{value}".encode()
    return max(int.from_bytes(blake2b(text, digest_size=8).digest(), "little", signed=True), 1 - (1 << 63))


_kept_hash = lru_cache(_MANY)(_new_hash)


def key_of(path: str, what: str) -> str:
    """The key of `ranges`: no path, so that nothing needs to be escaped."""
    return (_kept_key if len(path) <= _KEPT_CHARS else _new_key)(path, what)


def _new_key(path: str, what: str) -> str:
    return what[0] + blake2b(path.encode(), digest_size=12).hexdigest()


_kept_key = lru_cache(_MANY)(_new_key)
