"""What crosses a process boundary: frozen dataclasses, the vector codec, and JSON without loss."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import numpy as np
import orjson
import pybase64
from numpy.typing import NDArray
from pydantic_core import from_json

from clip_core.data_urls import decode_base64 as decode_base64
from clip_core.data_urls import image_base64 as image_base64
from clip_core.data_urls import without_whitespace as without_whitespace
from clip_core.errors import BadFilter, BadInput, BadJson, BadVector, UnknownCollection

FloatArray = NDArray[np.float32]
MAX_K = 10_000
COLLECTION_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # a pattern
COLLECTION_NAME_RULE = "a name is 1 to 64 of A-Z a-z 0-9 _ -, the first a letter or digit"
MAX_FILTER_BYTES = 256 * 1024
MAX_FILTER_LEVELS = 66  # of objects and lists: the index takes 32 operators inside one another
_NUMBERS = {int, float}
Exactness: TypeAlias = bool | Literal["certified"]
Consistency: TypeAlias = Literal["strong", "session", "eventually"]
"""What a read sees: every acknowledged write; those that the same process acknowledged; whatever has arrived."""

CONSISTENCIES: tuple[Consistency, ...] = get_args(Consistency)


def no_collection(name: object) -> UnknownCollection:
    """The error about a name that leads to no collection; of what can be none it says what a name may be."""
    shown = str(name)
    rule = "" if re.fullmatch(COLLECTION_NAME, shown) else f": {COLLECTION_NAME_RULE}"
    return UnknownCollection(f"there is no collection {shown[:64]!r}{rule}", param="collection")


def load_json(raw: bytes | bytearray | str) -> Any:
    """A JSON text → its value. Whole numbers of any size are exact: orjson reads those beyond 64 bits as floats.

    Raises BadJson. `json_text` refuses what can't be written again.
    """
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise BadJson(f"the body is not JSON: {error}") from error


def json_text(value: object, name: str, option: int | None = None, kind: type[BadInput] = BadInput) -> bytes:
    """The JSON text that `load_json` reads as `value` again. Raises `kind`, which names the field `name`."""
    try:
        text = orjson.dumps(value, option=option)
    except TypeError as error:
        raise kind(_unwritable(name, str(error)), param=name) from error
    if b"null" in text and not _finite(value):  # which is how orjson writes infinity
        raise kind(f"`{name}` holds a number too large for float64: send it as a string", param=name)
    return text


def filter_text(filter_: Mapping[str, Any], option: int | None = None) -> bytes:
    """The filter as JSON. Raises BadFilter when it is too large, nested too deep, or can't be written."""
    text = json_text(filter_, "filter", option, BadFilter)
    if len(text) > MAX_FILTER_BYTES:  # before its values are looked at one by one
        raise BadFilter(f"the filter has {len(text)} bytes of JSON, at most {MAX_FILTER_BYTES} go", param="filter")
    if text.count(b"{") + text.count(b"[") > MAX_FILTER_LEVELS:
        _check_depth(filter_)
    return text


def _check_depth(filter_: Mapping[str, Any]) -> None:
    """Level by level: what is nested too deep must not be recursed into. Raises BadFilter."""
    level: list[Any] = [filter_]
    for _ in range(MAX_FILTER_LEVELS):
        inside = (value for outer in level for value in (outer.values() if isinstance(outer, Mapping) else outer))
        level = [value for value in inside if isinstance(value, (Mapping, list))]
        if not level:
            return
    message = f"`filter` is nested too deep: at most {MAX_FILTER_LEVELS} objects and lists go inside one another"
    raise BadFilter(message, param="filter")


def _unwritable(name: str, reason: str) -> str:
    if "64-bit" in reason:
        return f"`{name}` holds a whole number outside -2^63 to 2^64-1: send it as a string"
    return f"`{name}` is nested too deep" if "Recursion" in reason else f"`{name}` is not JSON: {reason}"


def _finite(value: object) -> bool:
    """Whether no number in a JSON value is infinite or NaN."""
    if isinstance(value, (dict, list)):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def encode_vector(vector: FloatArray) -> str:
    """(D,) float32 → base64 of little-endian float32, the OpenAI `encoding_format: "base64"` convention."""
    return pybase64.b64encode_as_string(np.ascontiguousarray(vector, dtype="<f4").tobytes())


def decode_vector(value: object, dim: int | None = None) -> FloatArray:
    """base64 text or a list of numbers → (D,) float32.

    Raises BadVector when it is neither, holds NaN or infinity, or is not of length `dim`.
    """
    vector = _from_base64(value) if isinstance(value, str) else _from_list(value)
    if vector.ndim != 1 or vector.size == 0:
        raise BadVector("a vector is a flat, non-empty list of numbers", param="vector")
    if not np.isfinite(vector).all():
        raise BadVector("the vector holds NaN or infinity", param="vector")
    if dim is not None and vector.size != dim:
        raise BadVector(f"the vector has {vector.size} dimensions, expected {dim}", param="vector")
    return vector


def _from_base64(value: str) -> FloatArray:
    try:
        raw = decode_base64(value)
    except ValueError as error:
        raise BadVector("the vector is not base64", param="vector") from error
    if len(raw) % 4:
        raise BadVector("the vector's bytes are not whole float32 numbers", param="vector")
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)


def _from_list(value: object) -> FloatArray:
    if not isinstance(value, list) or not _NUMBERS.issuperset(map(type, value)):
        raise BadVector("a vector is base64 text or a list of numbers", param="vector")
    try:
        with np.errstate(over="ignore"):
            vector: FloatArray = np.asarray(value, dtype=np.float64).astype(np.float32)
            return vector
    except OverflowError as error:
        raise BadVector("the vector holds a number too large for float32", param="vector") from error


def unit(vectors: FloatArray) -> FloatArray:
    """(…, D) → the same directions with norm 1. Raises BadVector for a zero, NaN or infinite norm."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    if not np.isfinite(norms).all() or (norms < 1e-30).any():
        raise BadVector("a vector of zero or non-finite norm has no direction", param="vector")
    units: FloatArray = (vectors / norms).astype(np.float32)
    return units


class SearchPart(msgspec.Struct, frozen=True):
    """What a request asks of the index, beside the vector that the encoder makes for it."""

    collection: str
    k: int = 10
    filter: Mapping[str, Any] | None = None
    include: Sequence[str] = ("metadata",)
    exact: Exactness = False
    consistency: Consistency | None = None

    @classmethod
    def parse(cls, body: object) -> SearchPart:
        """Raises BadInput that names the field."""
        if not isinstance(body, Mapping):
            raise BadInput("`search` is an object", param="search")
        collection = body.get("collection")
        if not isinstance(collection, str) or not collection:
            raise BadInput("`collection` is a name", param="collection")
        filter_ = body.get("filter")
        if filter_ is not None and not isinstance(filter_, Mapping):
            raise BadInput("`filter` is an object", param="filter")
        if filter_:
            filter_text(filter_)
        exact = _exact(body.get("exact", False))
        consistency = parse_consistency(body.get("consistency"))
        return cls(collection, parse_k(body.get("k", 10)), filter_, _include(body.get("include")), exact, consistency)

    def to_dict(self) -> dict[str, Any]:
        """The filter is the same object and no copy; without one it is left out, as is no consistency."""
        given = {**msgspec.structs.asdict(self), "include": list(self.include)}
        for name in ("filter", "consistency"):
            if given[name] is None:
                del given[name]
        return given


def parse_k(value: object) -> int:
    """Raises BadInput unless `value` is a whole number from 1 to MAX_K."""
    if type(value) is not int or not 1 <= value <= MAX_K:
        raise BadInput(f"`k` is a whole number from 1 to {MAX_K}", param="k")
    return value


def parse_consistency(value: object) -> Consistency | None:
    """Raises BadInput unless `value` is None or one of CONSISTENCIES."""
    if value is not None and value not in CONSISTENCIES:
        raise BadInput(f"`consistency` is one of {', '.join(CONSISTENCIES)}", param="consistency")
    return value


def _exact(value: object) -> Exactness:
    if value == "certified":
        return "certified"
    if not isinstance(value, bool):
        raise BadInput('`exact` is true, false or "certified"', param="exact")
    return value


def _include(value: object) -> tuple[str, ...]:
    if value is None:
        return ("metadata",)
    if not isinstance(value, list) or not set(map(str, value)) <= {"metadata", "vector"}:
        raise BadInput('`include` lists "metadata" and "vector"', param="include")
    return tuple(value)


@dataclass(frozen=True)
class Neighbours:
    """What a search found: the list of hits as the index wrote it, and its certificate if `exact` was "certified"."""

    hits: bytes  # JSON
    certificate: dict[str, int] | None = None
