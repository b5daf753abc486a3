"""The `input` of a request → items, each checked by itself."""

from __future__ import annotations

import sys
from typing import Any

from clip_core.errors import BadInput, ClipServeError, TooLarge
from clip_core.inputs.images import from_reference
from clip_core.inputs.request import Accepts, Item, Part
from clip_core.wire import FloatArray, decode_vector


def parse_items(inputs: list[Any], accepts: Accepts) -> tuple[Item | ClipServeError, ...]:
    """One item or its error for each of `inputs`. Raises BadInput for none, TooLarge for too many."""
    if not inputs:
        raise BadInput("`input` is an empty list", param="input")
    if len(inputs) > accepts.max_inputs:
        raise TooLarge(f"`input` has {len(inputs)} items, the limit is {accepts.max_inputs}", param="input")
    return tuple(_item_or_error(value, accepts) for value in inputs)


def _item_or_error(value: Any, accepts: Accepts) -> Item | ClipServeError:
    try:
        return _item(value, accepts)
    except ClipServeError as error:
        return error


def _item(value: Any, accepts: Accepts) -> Item:
    if isinstance(value, str):
        return Item((_part({accepts.bare: value}, accepts),))
    if not isinstance(value, dict):
        raise BadInput("an input is a string or an object with text, image, vector or query", param="input")
    if "query" not in value:
        return Item((_part(value, accepts),))
    if not isinstance(value["query"], list) or not value["query"]:
        raise BadInput("`query` is a list of parts", param="query")
    return Item(tuple(_part(part, accepts) for part in value["query"]))


def _part(value: Any, accepts: Accepts) -> Part:
    kinds = [kind for kind in ("text", "image", "vector") if isinstance(value, dict) and value.get(kind) is not None]
    if len(kinds) != 1:
        raise BadInput("an input has exactly one of text, image and vector", param="input")
    kind = kinds[0]
    if kind not in accepts.kinds:
        raise BadInput(f"this endpoint does not take {kind}; it takes {', '.join(sorted(accepts.kinds))}", param=kind)
    return Part(kind, _value(kind, value[kind]), _weight(value.get("weight", 1.0)))


def _value(kind: str, value: Any) -> str | bytes | FloatArray:
    if kind == "vector":
        return decode_vector(value)
    if kind == "image" and isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if not isinstance(value, str):
        raise BadInput(f"`{kind}` is a string", param=kind)
    return from_reference(value) if kind == "image" else value


def _weight(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < abs(value) <= sys.float_info.max:
        raise BadInput("`weight` is a finite number of float64's range, other than 0", param="weight")
    return float(value)
