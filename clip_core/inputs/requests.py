"""A request's body, in any form that TorchServe hands over → a `Request`: items to encode and what to do with them.

Forms: raw text, raw image bytes, our JSON, KServe v2 JSON, and named parts (multipart fields or a gRPC input map).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from clip_core.errors import BadInput, BadJson, BadText, ClipServeError, InvalidRequest, TooLarge, UnsupportedMediaType
from clip_core.inputs.images import from_reference
from clip_core.wire import FloatArray, SearchPart, decode_vector, load_json

Format = Literal["base64", "float"]
_SEARCH_FIELDS = tuple(field.name for field in fields(SearchPart))
OPTIONS = ("search", "encoding_format", "truncate")


@dataclass(frozen=True)
class Part:
    """One thing with a direction: a text, an image's bytes, or a vector; a negative weight pushes away."""

    kind: str
    value: str | bytes | FloatArray
    weight: float = 1.0


@dataclass(frozen=True)
class Item:
    """One answer's worth of input: the normalised weighted sum of its parts' unit vectors."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Request:
    items: tuple[Item | ClipServeError, ...]
    single: bool
    encoding_format: Format = "base64"
    cut_long_texts: bool = True
    search: SearchPart | None = None
    v2: bool = False
    v2_id: str | None = None
    places: tuple[str, ...] = ()  # of a KServe v2 request: text[0], text[1], …
    request_id: str | None = None


@dataclass(frozen=True)
class AdminRequest:
    """The object under `admin`, as it came."""

    body: Mapping[str, Any]


@dataclass(frozen=True)
class Accepts:
    """What an endpoint takes: the kinds of part, and the kind that a bare string or raw bytes stand for."""

    kinds: frozenset[str]
    bare: str
    max_inputs: int = 256


def parse_row(
    row: Mapping[str, Any], content_type: str | None, accepts: Accepts, request_id: str | None = None
) -> Request | AdminRequest:
    """One TorchServe batch slot → Request. Raises a ClipServeError when nothing in it can be answered."""
    fields = {str(key): value for key, value in row.items()}
    body = fields.pop("body", fields.pop("data", None))
    if body is None and len([key for key in fields if key not in OPTIONS]) == 1:
        body = fields.pop(next(key for key in fields if key not in OPTIONS))
    if isinstance(body, (bool, int, float)) or (body is None and _media_type(content_type) == "application/json"):
        raise _no_object()
    if body is None or body in (b"", ""):
        raise BadInput("the request has no body")
    options = {key: _json_or_text(value) for key, value in fields.items() if key in OPTIONS}
    parsed = _parse_body(body, (content_type or "").lower(), accepts)
    if isinstance(parsed, Mapping):
        if isinstance(parsed.get("admin"), Mapping):
            return AdminRequest(parsed["admin"])
        if "inputs" in parsed and "input" not in parsed:
            return _parse_v2(parsed, accepts, request_id)
        return _request({**parsed, **options}, accepts, request_id)
    return _request(
        {"input": {accepts.bare if isinstance(parsed, str) else "image": parsed}, **options}, accepts, request_id
    )


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _json_or_text(value: Any) -> Any:
    if not isinstance(value, (bytes, bytearray, str)):
        return value
    try:
        return load_json(value)
    except BadJson:
        return value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")


def _parse_body(body: Any, header: str, accepts: Accepts) -> Any:
    """→ a JSON object, text (str) or image bytes."""
    if isinstance(body, Mapping):
        return body
    if isinstance(body, list):
        return {"input": body}
    content_type = _media_type(header)
    if isinstance(body, str) and content_type == "application/json" and body.lstrip()[:1] != "{":
        raise _no_object()
    raw = body.encode() if isinstance(body, str) else bytes(body)
    if content_type == "application/json" or (_undeclared(content_type) and raw.lstrip()[:1] == b"{"):
        return _parse_json(raw)
    if content_type == "application/x-www-form-urlencoded" or (
        content_type == "multipart/form-data" and "boundary=" not in header
    ):
        raise UnsupportedMediaType("send JSON, text/plain, an image's bytes, or multipart/form-data with its boundary")
    if content_type.startswith("image/") or (not content_type.startswith("text/") and _is_image(raw, accepts)):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText("the text is not UTF-8") from error


def _undeclared(content_type: str) -> bool:
    return content_type in ("", "application/octet-stream", "application/x-www-form-urlencoded", "multipart/form-data")


def _is_image(raw: bytes, accepts: Accepts) -> bool:
    if accepts.bare == "image":
        return True
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return "image" in accepts.kinds
    return False


def _parse_json(raw: bytes) -> Mapping[str, Any]:
    body = load_json(raw)
    if not isinstance(body, dict):
        raise _no_object()
    return body


def _no_object() -> BadJson:
    return BadJson('the body is a JSON object such as {"input": "a red circle"}')


def _request(body: Mapping[str, Any], accepts: Accepts, request_id: str | None) -> Request:
    if "input" not in body:
        raise BadInput('`input` is missing: {"input": "a red circle"}', param="input")
    inputs = body["input"]
    single = not isinstance(inputs, list)
    encoding_format = body.get("encoding_format", "base64")
    if encoding_format not in ("base64", "float"):
        raise BadInput('`encoding_format` is "base64" or "float"', param="encoding_format")
    return Request(
        items=parse_items([inputs] if single else inputs, accepts),
        single=single,
        encoding_format=encoding_format,
        cut_long_texts=_cut(body.get("truncate", "end")),
        search=None if body.get("search") is None else _search(body["search"]),
        request_id=request_id,
    )


def _search(body: object) -> SearchPart:
    unknown = [str(name) for name in body if name not in _SEARCH_FIELDS] if isinstance(body, Mapping) else []
    if unknown:
        raise InvalidRequest(f"`search` takes {', '.join(_SEARCH_FIELDS)}", param=f"search.{unknown[0][:64]}")
    return SearchPart.parse(body)


def _cut(value: object) -> bool:
    if value not in ("end", "error"):
        raise BadInput('`truncate` is "end" or "error"', param="truncate")
    return value == "end"


def parse_items(inputs: list[Any], accepts: Accepts) -> tuple[Item | ClipServeError, ...]:
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


def _parse_v2(body: Mapping[str, Any], accepts: Accepts, request_id: str | None) -> Request:
    """KServe v2: every BYTES tensor named text or image is a list of inputs; options ride in `parameters`."""
    tensors, parameters = body["inputs"], body.get("parameters") or {}
    if not isinstance(tensors, list) or not tensors or not isinstance(parameters, Mapping):
        raise BadInput('KServe v2: "inputs" is a list of tensors, "parameters" an object', param="inputs")
    inputs = [value for tensor in tensors for value in _v2_tensor(tensor, accepts)]
    options = {key: _json_or_text(parameters[key]) for key in OPTIONS if key in parameters}
    request = _request({"input": inputs, "encoding_format": "float", **options}, accepts, request_id)
    identity = body.get("id")
    places = tuple(f"{t.get('name', 'inputs')}[{i}]" for t in tensors for i in range(len(t["data"])))
    return replace(request, v2=True, v2_id=None if identity is None else str(identity), places=places)


def _v2_tensor(tensor: Any, accepts: Accepts) -> list[Any]:
    if not isinstance(tensor, Mapping) or tensor.get("datatype") != "BYTES" or not isinstance(tensor.get("data"), list):
        raise BadInput('KServe v2: a tensor has "name", "shape", "datatype": "BYTES" and a "data" list', param="inputs")
    name = tensor.get("name")
    kind = name if name in ("text", "image") else accepts.bare
    shape = tensor.get("shape", [len(tensor["data"])])
    if not isinstance(shape, list) or any(type(n) is not int for n in shape) or _product(shape) != len(tensor["data"]):
        raise BadInput(f"KServe v2: shape {shape} does not hold {len(tensor['data'])} elements", param="inputs")
    return [{kind: value} for value in tensor["data"]]


def _product(shape: list[int]) -> int:
    product = 1
    for n in shape:
        product *= n
    return product
