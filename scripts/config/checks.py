"""What is wrong with a configuration: a line for each fault, with its place and what is allowed there."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from clip_core.errors import BadModel
from clip_core.model_spec import PRECISIONS
from gateway.settings import GatewaySettings
from scripts.archive.build import model_name
from scripts.config.keys import PARTS, Key, advice, keys
from scripts.config.schema import config_model
from scripts.config.sources import settings_of
from scripts.config.yaml_file import Document, Place, dotted

_MOST_LISTED = 20
Fault = tuple[int, str]
"""The line, and what is said."""


def _fault(document: Document, place: Place, text: str) -> Fault:
    where = document.where(place)
    return int(where.rpartition(":")[2]), f"{where}: {text}"


def given(document: Document) -> Iterator[tuple[Key, Any]]:
    """The keys that a document gives, each with its value; those left empty are left out."""
    for (section, name), key in keys().items():
        value = (document.values.get(section) or {}).get(name)
        if value is not None:
            yield key, value


def wrong_types(document: Document) -> Iterator[Fault]:
    """Keys that are none, and values of another type or out of bounds."""
    try:
        config_model().model_validate_json(json.dumps(document.values))
    except ValidationError as error:
        for problem in error.errors():
            yield _fault(document, problem["loc"], _said(document, problem))


def _said(document: Document, problem: ErrorDetails) -> str:
    place, kind = problem["loc"], problem["type"]
    if kind == "extra_forbidden":
        return _unknown(place)
    text = _PHRASES.get(kind) or problem["msg"].replace("Input should be", "must be").replace("Value error, ", "")
    given = problem["input"]
    shown = f", not {json.dumps(given)[:40]}" if isinstance(given, str | int | float) else ""
    return f"{document.shown(place)}: {text}{shown}"


_PHRASES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text: put it in quotes",
    "path_type": "must be a path",
    "tuple_type": "must be a list, such as [a, b]",
    "list_type": "must be a list, each with `- ` before it",
    "dict_type": "must be names with values, such as {photos: /srv/photos}",
    "model_type": "must be a section, with keys below it",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "has characters that a name may not have",
}


def _unknown(place: Place) -> str:
    *above, name = place
    said = advice(str(above[0]), str(name)) if len(above) == 1 else None
    if said:
        return f"{dotted(place)} {said}"
    known = _keys_at(tuple(above))
    near = difflib.get_close_matches(str(name), known, 1)
    if near:
        return f"{dotted(place)} is no key; did you mean {dotted((*above, near[0]))}?"
    return f"{dotted(place)} is no key; {_listed(known)}"


def _listed(known: Sequence[str]) -> str:
    return f"there are {', '.join(known)}" if len(known) <= _MOST_LISTED else "docs/settings.md lists those that are"


def _keys_at(place: Place) -> list[str]:
    """What may stand there."""
    made: Any = config_model().model_json_schema()
    schema = made
    for part in place:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
        while not {"properties", "items"} & set(schema):
            schema = made["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema["anyOf"][0]
        if "$ref" in schema:
            schema = made["$defs"][schema["$ref"].rpartition("/")[2]]
    return list(schema["properties"])


def nonsense(document: Document) -> Iterator[Fault]:
    """What has the right type, and can't be meant."""
    for number, each in enumerate(document.values.get("models") or []):
        if not each.get("name") and not each.get("source"):
            yield _fault(document, ("models", number), f"models[{number}]: needs a `name` or a `source`")
    yield from _unknown_precisions(document)
    yield from _named_twice(document)
    for place, endpoint in _endpoints(document):
        if endpoint.get("minWorkers", 1) > endpoint.get("maxWorkers", endpoint.get("minWorkers", 1)):
            yield _fault(document, place, f"{dotted(place)}: minWorkers is more than maxWorkers")
    for key, value in given(document):
        if any(re.search(r"[,\x00-\x1f\x7f]", each) for each in _words(value)):
            yield _fault(
                document, (key.section, key.name), f"{key}: words may have no commas and no control characters"
            )


def _unknown_precisions(document: Document) -> Iterator[Fault]:
    places: list[Place] = [("models", number) for number in range(len(document.values.get("models") or []))]
    for place in [("optimisation",), *places]:
        section: Any = document.values.get(str(place[0])) or {}
        given = (section[place[1]] if len(place) > 1 else section).get("precision")
        if given is not None and given not in (*PRECISIONS, "auto"):
            where: Place = (*place, "precision")
            text = f"{dotted(where)}: is one of {', '.join(PRECISIONS)}, auto, not {json.dumps(given)[:40]}"
            yield _fault(document, where, text)


def _named_twice(document: Document) -> Iterator[Fault]:
    seen = set()
    for number, each in enumerate(document.values.get("models") or []):
        name = _name(each)
        if name is not None and name in seen:
            text = f"models[{number}]: two models are named {name!r}: name each once"
            yield _fault(document, ("models", number), text)
        seen.add(name)


def _name(model: Mapping[str, Any]) -> str | None:
    """As `up` names it; None where that can't be told of the file alone."""
    given = {key: model[key] for key in ("name", "architecture", "tokenizer") if key in model}
    checkpoint = Path(model["checkpoint"]) if "checkpoint" in model else None
    try:
        return model_name(model.get("source") or model.get("name") or "", checkpoint, **given)
    except BadModel:
        return model.get("name")


def _endpoints(document: Document) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Of the section `batching`, and of models."""
    places: list[Place] = [("batching",)]
    places += [("models", number, "batching") for number in range(len(document.values.get("models") or []))]
    for place in places:
        kinds: Any = document.values
        for part in place:
            kinds = kinds.get(part, {}) if isinstance(kinds, dict) else kinds[part]
        yield from (((*place, kind), each) for kind, each in (kinds or {}).items() if each)


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{name}{each}" for name, each in value.items())
    elif isinstance(value, list):
        yield from map(str, value)


def refused_by_parts(document: Document, variables: Mapping[str, str]) -> Iterator[Fault]:
    """What the parts' own settings say of what the file gives them."""
    for part in PARTS:
        for problem in _problems(part, variables):
            place = _place(part, problem["loc"])
            text = " ".join(problem["msg"].removeprefix("Value error, ").split())
            yield _fault(document, place, f"{document.shown(place)}: {text}")


def open_to_strangers(document: Document, variables: Mapping[str, str]) -> Iterator[Fault]:
    """What the gateway says of the address that the file gives it, with keys of the file or of the environment."""
    place = ("up", "host")
    if place not in document.lines:
        return
    try:
        up: Any = settings_of("up", variables, environment=True)
        gateway: Any = settings_of("gateway", variables, environment=True)
    except ValidationError:
        return  # other faults, told elsewhere
    shared = gateway.database_url.get_secret_value()
    try:
        keys_file = None if shared else gateway.keys_file or up.data_dir / "keys.db"
        GatewaySettings(host=up.host, api_keys=gateway.api_keys, database_url=shared, keys_file=keys_file)
    except ValidationError as error:
        for problem in error.errors():
            yield _fault(document, place, f"{dotted(place)}: {problem['msg'].removeprefix('Value error, ')}")


def _problems(part: str, variables: Mapping[str, str]) -> list[ErrorDetails]:
    try:
        settings_of(part, variables, environment=False)
    except ValidationError as error:
        return error.errors()
    return []


def _place(part: str, setting: Place) -> Place:
    """Where the file gives a setting; the part's section when the fault is one of several together."""
    found = (key for key in keys().values() if setting and (key.part, key.setting) == (part, setting[0]))
    return next(((key.section, key.name) for key in found), (part,))
