"""A request's body, in every form that TorchServe hands over → a `Request`.

The forms: raw text, raw image bytes, our JSON, KServe v2 JSON, and named parts (multipart fields or a gRPC input map).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clip_core.errors import BadInput, BadJson, BadText, InvalidRequest, UnsupportedMediaType
from clip_core.inputs.items import parse_items
from clip_core.inputs.kserve_v2 import v2_inputs, v2_parameters, v2_places
from clip_core.inputs.request import Accepts, AdminRequest, Request
from clip_core.tracing.trace_context import Callers
from clip_core.wire import SearchPart, load_json

_SEARCH_FIELDS = SearchPart.__struct_fields__
OPTIONS = ("search", "encoding_format", "truncate", "traceparent")


def parse_row(
    row: Mapping[str, Any], content_type: str | None, accepts: Accepts, request_id: str | None = None
) -> Request | AdminRequest:
    """One row of a TorchServe batch → a request. Raises ClipServeError when nothing in it can be answered."""
    parsed, options = read_row(row, content_type, accepts)
    if isinstance(parsed, Mapping):
        if isinstance(parsed.get("admin"), Mapping):
            return AdminRequest(parsed["admin"])
        if "inputs" in parsed and "input" not in parsed:
            return _parse_v2(parsed, accepts, request_id)
        return _request({**parsed, **options}, accepts, request_id)
    return _request(
        {"input": {accepts.bare if isinstance(parsed, str) else "image": parsed}, **options}, accepts, request_id
    )


def read_row(
    row: Mapping[str, Any], content_type: str | None, accepts: Accepts, names: Sequence[str] = OPTIONS
) -> tuple[Any, dict[str, Any]]:
    """The body, as a JSON object, a text or a picture's bytes, and the options beside it, of these `names`.

    Raises ClipServeError.
    """
    fields = {str(key): value for key, value in row.items()}
    body = fields.pop("body", fields.pop("data", None))
    if body is None and len([key for key in fields if key not in names]) == 1:
        body = fields.pop(next(key for key in fields if key not in names))
    if isinstance(body, (bool, int, float)) or (body is None and _media_type(content_type) == "application/json"):
        raise _no_object()
    if body is None or body in (b"", ""):
        raise BadInput("the request has no body")
    options = {key: _json_or_text(value) for key, value in fields.items() if key in names}
    return _parse_body(body, (content_type or "").lower(), accepts), options


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
    raw: bytes | bytearray = body.encode() if isinstance(body, str) else body
    if content_type == "application/json" or (_undeclared(content_type) and raw.lstrip()[:1] == b"{"):
        return _parse_json(raw)
    if content_type == "application/x-www-form-urlencoded" or (
        content_type == "multipart/form-data" and "boundary=" not in header
    ):
        raise UnsupportedMediaType("send JSON, text/plain, an image's bytes, or multipart/form-data with its boundary")
    if content_type.startswith("image/") or (not content_type.startswith("text/") and _is_image(raw, accepts)):
        return bytes(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadText("the text is not UTF-8") from error


def _undeclared(content_type: str) -> bool:
    return content_type in ("", "application/octet-stream", "application/x-www-form-urlencoded", "multipart/form-data")


def _is_image(raw: bytes | bytearray, accepts: Accepts) -> bool:
    if accepts.bare == "image":
        return True
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return "image" in accepts.kinds
    return False


def _parse_json(raw: bytes | bytearray) -> Mapping[str, Any]:
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
        described=body.get("describe") is True,
        callers=Callers.read(body.get("traceparent"), body.get("sent")),
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


def _parse_v2(body: Mapping[str, Any], accepts: Accepts, request_id: str | None) -> Request:
    """The options of a KServe v2 request are in `parameters`."""
    inputs, parameters = v2_inputs(body, accepts), v2_parameters(body)
    options = {key: _json_or_text(parameters[key]) for key in OPTIONS if key in parameters}
    request = _request({"input": inputs, "encoding_format": "float", **options}, accepts, request_id)
    identity = body.get("id")
    return replace(request, v2=True, v2_id=None if identity is None else str(identity), places=v2_places(body))
