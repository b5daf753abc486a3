"""JSON bodies → checked values. Every function raises a ClipServeError that names the field at fault."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from clip_core.errors import BadFilter, BadInput, BadJson, InvalidRequest, TooLarge
from clip_core.wire import COLLECTION_NAME, COLLECTION_NAME_RULE, json_text, load_json
from index_service.engines.base import METRICS, Metric
from index_service.metadata.filters import canonical, compile_filter
from index_service.record.records import MAX_ID as MAX_ID
from index_service.record.records import STORES, CollectionInfo, StoreName
from index_service.segments.engine_choice import parse_engine

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MAX_TEXT, _MAX_SOURCE = 1024, 8192
_INCLUDED = {"vector", "source"}
_MAX_DEPTH = 64
_MAX_VALUES = 1000


def parse_body(raw: bytes, known: Collection[str]) -> dict[str, Any]:
    """A request body that is a JSON object of `known` fields."""
    body = load_json(raw)
    if not isinstance(body, dict):
        raise InvalidRequest("the body is not a JSON object")
    check_fields(body, known)
    return body


def check_fields(given: Iterable[str], known: Collection[str]) -> None:
    """Raises InvalidRequest that names the first of `given` that isn't `known`."""
    for name in given:
        if name not in known:
            there_are = f"there are {', '.join(sorted(known))}" if known else "there are none here"
            raise InvalidRequest(f"`{name[:64]}` is unknown: {there_are}", param=name[:64])


def check_query(given: Sequence[tuple[str, str]], known: Collection[str]) -> None:
    """The same for query parameters, of which each may be given once."""
    names = [name for name, _ in given]
    check_fields(names, known)
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(f"`{name}` is given more than once", param=name)


def included(value: str | None) -> Sequence[str]:
    """The query parameter `include`: what is shown of an item beside its id and metadata."""
    names = value.split(",") if value else []
    if not {*names} <= _INCLUDED:
        raise InvalidRequest("`include` lists vector and source, with a comma between", param="include")
    return names


def after_id(value: str | None) -> str:
    """The query parameter `after`: an id, of which an item is or was."""
    if value is not None and len(value) > MAX_ID:
        raise InvalidRequest(f"`after` is an id, of at most {MAX_ID} characters", param="after")
    return value or ""


def after(body: Mapping[str, Any]) -> str:
    """The field `after` of a body: an id, of which an item is or was."""
    value = body.get("after")
    if value is not None and not isinstance(value, str):
        raise InvalidRequest("`after` is an id", param="after")
    return after_id(value)


def whole_number(body: Mapping[str, Any], name: str, default: int, most: int) -> int:
    """An optional field that is a whole number from 1 to `most`."""
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= most:
        raise InvalidRequest(f"`{name}` is a whole number from 1 to {most}", param=name)
    return value


def text(body: Mapping[str, Any], name: str) -> str:
    """A required, non-empty string."""
    value = body.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_TEXT:
        raise InvalidRequest(f"`{name}` is a string of 1 to {_MAX_TEXT} characters", param=name)
    return value


def listed(body: Mapping[str, Any], name: str, most: int) -> list[Any]:
    """A required list of at most `most` entries."""
    value = body.get(name)
    if not isinstance(value, list):
        raise InvalidRequest(f"`{name}` is a list", param=name)
    if len(value) > most:
        raise TooLarge(f"`{name}` has {len(value)} entries, at most {most} go in one call", param=name)
    return value


def fingerprint(body: Mapping[str, Any]) -> str | None:
    """The fingerprint the caller's vectors were made with; None when it brings vectors of its own."""
    return None if body.get("fingerprint") is None else text(body, "fingerprint")


def collection_name(name: object) -> str:
    """The name of a collection, or of an alias."""
    if not isinstance(name, str) or not re.fullmatch(COLLECTION_NAME, name):
        raise InvalidRequest(COLLECTION_NAME_RULE, param="name")
    return name


def collection_info(name: str, body: Mapping[str, Any], max_dim: int, max_metadata: int) -> CollectionInfo:
    """The body of `PUT /collections/{name}`."""
    dim = body.get("dim")
    if type(dim) is not int or not 1 <= dim <= max_dim:
        raise InvalidRequest(f"`dim` is a whole number from 1 to {max_dim}", param="dim")
    engine = parse_engine(body.get("engine", "auto"), body.get("factory"), dim)
    return CollectionInfo(
        name=collection_name(name),
        model=text(body, "model"),
        fingerprint=text(body, "fingerprint"),
        dim=dim,
        engine=engine,
        recall_target=_recall_target(body.get("recall_target")),
        metric=_metric(body.get("metric", "cosine")),
        metadata=metadata_json(body.get("metadata"), max_metadata),
        store=store(body.get("store", "embedded")),
    )


def store(value: object) -> StoreName:
    """Where a collection's items are kept."""
    if value not in STORES:
        raise InvalidRequest(f"`store` is one of {', '.join(STORES)}", param="store")
    return value


def _metric(value: object) -> Metric:
    if value not in METRICS:
        raise InvalidRequest(f"`metric` is one of {', '.join(METRICS)}", param="metric")
    return value


def _recall_target(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise InvalidRequest("`recall_target` is a number above 0, at most 1", param="recall_target")
    return float(value)


def field_names(value: object, most: int) -> list[str] | None:
    """Names of metadata fields, dots inside objects; None: the caller names none."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) and 1 <= len(name) <= MAX_ID for name in value):
        raise InvalidRequest(f"`fields` lists names of 1 to {MAX_ID} characters", param="fields")
    if not 1 <= len(value) <= most:
        raise InvalidRequest(f"`fields` has 1 to {most} names", param="fields")
    return value


def most_values(value: object) -> int:
    """How many values of a field are shown."""
    if type(value) is not int or not 1 <= value <= _MAX_VALUES:
        raise InvalidRequest(f"`values` is a whole number from 1 to {_MAX_VALUES}", param="values")
    return value


def item_id(value: object) -> str:
    """An item's id."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID:
        raise BadInput(f"an id is a string of 1 to {MAX_ID} characters", param="id")
    return value


def new_item_id(value: object) -> str:
    """The id of an item to be written: one that can be named in a path."""
    id_ = item_id(value)
    if id_ in (".", "..") or _CONTROL.search(id_):
        raise BadInput("an id is neither `.` nor `..` and holds no control characters, such as a newline", param="id")
    return id_


def metadata_json(value: object, most: int) -> bytes:
    """An object → its JSON text, at most `most` bytes; null → `{}`."""
    if value is None:
        return b"{}"
    if not isinstance(value, dict):
        raise BadInput("`metadata` is an object", param="metadata")
    if not value:
        return b"{}"
    encoded = json_text(value, "metadata")
    if len(encoded) > most:
        raise TooLarge(f"`metadata` has {len(encoded)} bytes of JSON, at most {most} go with an item", param="metadata")
    if encoded.count(b"{") + encoded.count(b"[") > _MAX_DEPTH and _deeper(value, _MAX_DEPTH):
        raise BadInput(f"`metadata` is nested deeper than {_MAX_DEPTH} levels", param="metadata")
    return bytes(memoryview(encoded))  # copied: behind the few bytes of each row orjson's own would keep 4 KB


def source_json(value: object) -> bytes | None:
    """What an item's vector was made from: `{"text": …}` or `{"image": …}`, the latter a URL or a file's name."""
    if value is None:
        return None
    if not isinstance(value, dict) or list(value) not in (["text"], ["image"]):
        raise BadInput('`source` is {"text": …} or {"image": …}', param="source")
    (content,) = value.values()
    if not isinstance(content, str) or not 1 <= len(content) <= _MAX_SOURCE:
        raise BadInput(f"a source is a string of 1 to {_MAX_SOURCE} characters", param="source")
    return orjson.dumps(value)


def _deeper(value: object, levels: int) -> bool:
    """Whether lists and objects nest more than `levels` deep."""
    if not isinstance(value, (dict, list)):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(x, levels - 1) for x in inside)


def where(filter_: object) -> bytes | None:
    """A filter → its canonical JSON, known to compile; None when it lets everything through."""
    if filter_ is None:
        return None
    if not isinstance(filter_, Mapping):
        raise BadFilter("a filter is an object", param="filter")
    if not filter_:
        return None
    encoded = canonical(filter_)
    compile_filter(encoded)
    return encoded


def where_text(value: str | None) -> bytes | None:
    """The query parameter `filter`, which is JSON."""
    try:
        return where(None if value is None else load_json(value))
    except BadJson as error:
        raise BadFilter("`filter` is a JSON object", param="filter") from error


def whole(value: str | None, name: str, default: int, most: int, *, least: int = 1) -> int:
    """A query parameter: a whole number from `least` to `most`."""
    if value is None:
        return default
    if not value.isdecimal() or not value.isascii() or len(value) > 19 or not least <= int(value) <= most:
        raise InvalidRequest(f"`{name}` is a whole number from {least} to {most}", param=name)
    return int(value)
