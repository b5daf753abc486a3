"""Metadata that JSON can carry to the gateway and back: the rest is left out, field by field."""

from __future__ import annotations

import json
import math
from typing import Any

Json = dict[str, Any]
_LEVELS = 64  # of objects and lists inside one another
_WHOLE = range(-(2**63), 2**64)
_SHOWN = 60  # characters of a field's name


def read_object(content: bytes | str) -> Json | None:
    """A JSON object in UTF-8, with or without a byte order mark; None for anything else."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def carried(metadata: Json) -> tuple[Json, tuple[str, ...]]:
    """The fields that can be carried, and a note for each of the others."""
    good = {name: value for name, value in metadata.items() if _fits(name) and _fits(value)}
    return good, tuple(f"metadata left out: {shown(name)}" for name in metadata if name not in good)


def within(metadata: Json, most_bytes: int) -> tuple[Json, tuple[str, ...]]:
    """Without its largest fields, where it has more than `most_bytes` of JSON, and a note for each of those."""
    kept, bytes_left = dict(metadata), most_bytes - _size(metadata)
    if bytes_left >= 0:
        return kept, ()
    sizes = {name: _size({name: value}) - 1 for name, value in metadata.items()}
    left_out = []
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if bytes_left >= 0:
            break
        bytes_left += sizes[name]
        left_out.append(name)
        del kept[name]
    return kept, tuple(f"metadata too large, left out: {shown(name)}" for name in left_out)


def _size(value: Json) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def _fits(value: object) -> bool:
    """Level by level: what is nested too deep must not be recursed into."""
    level = [value]
    for _ in range(_LEVELS):
        if not all(map(_plain, level)):
            return False
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return True
    return False


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list) else []


def _plain(value: object) -> bool:
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return isinstance(value, bool) or value in _WHOLE
    return value is None or isinstance(value, dict | list)


def is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: object) -> str:
    """A field's name, short and writable as UTF-8."""
    return str(name)[:_SHOWN].encode("utf-8", "backslashreplace").decode()
