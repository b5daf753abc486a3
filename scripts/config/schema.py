"""The configuration file as one pydantic model: types and bounds of every key, and the JSON Schema for editors.

Each section's class is made from the settings of its part, so nothing is written down twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

from clip_core.endpoint_config import EndpointConfig
from clip_core.model_spec import CAPTION, KINDS
from scripts.config.keys import SECTIONS, keys

_STRICT = ConfigDict(extra="forbid", strict=True, alias_generator=lambda name: name.removesuffix("_"))
_MOST = 2**31 - 1  # Java's
_WORD = Annotated[str, Field(min_length=1)]
_CONTINUOUS = "continuousBatching"
_TORCHSERVE = {
    "minWorkers": "workers that TorchServe starts with",
    "maxWorkers": "workers that it may be scaled to",
    "batchSize": "most requests of a batch",
    "maxBatchDelay": "milliseconds that a batch waits for more requests",
    "responseTimeout": "seconds after which a worker that does not answer is started again",
    "startupTimeout": "seconds that a worker may take to load",
    "jobQueueSize": "requests that wait for a worker; more are refused",
    _CONTINUOUS: "of a captioner: requests join between two tokens; false: between two batches, without streams",
}
_OURS = {each.name: each for each in dataclasses.fields(EndpointConfig)}
ENDPOINT_KEYS: Mapping[str, tuple[Any, str]] = {
    **{name: (None, text) for name, text in _TORCHSERVE.items()},
    **{name: (each.default, each.metadata["description"]) for name, each in _OURS.items()},
}
"""Of an endpoint's YAML: name → default and meaning; TorchServe's first, whose defaults stand in archive/common."""
_MODEL: Mapping[str, tuple[Any, str]] = {
    "name": (_WORD, "its name in requests; made from the source unless given"),
    "source": (_WORD, "what `clipserve up --model` takes; the name unless given"),
    "checkpoint": (_WORD, "a file or folder of weights, instead of the model's own"),
    "architecture": (_WORD, "open_clip's architecture, or its JSON file, where the weights can't tell"),
    "tokenizer": (_WORD, "a folder with a Hugging Face tokenizer, where the weights lack one"),
    "precision": (_WORD, "what its towers compute in, instead of optimisation.precision"),
}
_OVER = "as the section `batching`, for this model's endpoints"
MODEL_KEYS: Mapping[str, str] = {name: text for name, (_, text) in _MODEL.items()} | {"batching": _OVER}


@cache
def config_model() -> type[BaseModel]:
    """The whole file; a section may be empty."""
    batching = _batching()
    fields = {
        "models": _left_out(_models(batching) | None, "The models to serve; the first is the default. Empty: none."),
        "batching": _left_out(batching | None, "Endpoints by kind, over the settings in their archives."),
        **{name: _left_out(_section(name) | None, text) for name, text in SECTIONS.items()},
    }
    text = "What `clipserve up --config` reads. Options and environment variables win over it."
    return _class("ClipserveConfig", text, fields)


def _models(batching: type[BaseModel]) -> Any:
    fields = {name: _left_out(kind, text) for name, (kind, text) in _MODEL.items()}
    fields["batching"] = _left_out(batching, _OVER)
    return GenericAlias(list, _class("ServedModelConfig", "One model to serve.", fields))


def json_schema() -> dict[str, Any]:
    """For editors."""
    made = _without_nulls(config_model().model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "clipserve configuration"}


def _endpoint_field(name: str) -> tuple[Any, FieldInfo]:
    """Of a key of an endpoint's YAML, with its bounds."""
    text = ENDPOINT_KEYS[name][1]
    if name == _CONTINUOUS:
        return _left_out(bool, text)
    if name not in _OURS:
        return _number(int, 1, text)
    kind, metadata = type(_OURS[name].default), _OURS[name].metadata
    if metadata["choices"]:
        literal: Any = Literal
        return _left_out(literal[metadata["choices"]], text)
    return _left_out(bool, text) if kind is bool else _number(kind, metadata["least"], text)


def _number(kind: Any, least: float, description: str) -> tuple[Any, FieldInfo]:
    bounded: Any = Field(None, description=description, ge=least, le=_MOST)
    return kind, bounded


def _batching() -> type[BaseModel]:
    fields = {name: _endpoint_field(name) for name in ENDPOINT_KEYS}
    endpoint = _class("EndpointBatching", "Keys of archive/common/<kind>.yaml.", fields)
    kinds = {kind: _left_out(endpoint | None, f"The {kind} endpoint.") for kind in (*KINDS, CAPTION)}
    return _class("Batching", "Settings of endpoints by kind.", kinds)


def _section(name: str) -> type[BaseModel]:
    fields = {key.name: _plain(key.field) for key in keys().values() if key.section == name}
    return _class(name.capitalize(), SECTIONS[name], fields)


def _class(name: str, text: str, fields: Mapping[str, tuple[Any, FieldInfo]]) -> type[BaseModel]:
    """Fields end in `_`, keys do not: some keys, such as `json`, are names of pydantic's own."""
    made: Any = {f"{key}_": value for key, value in fields.items()}
    return create_model(name, __config__=_STRICT, __doc__=text, **made)


def _plain(field: FieldInfo) -> tuple[Any, FieldInfo]:
    """As YAML has it: lists are lists, not words between commas."""
    default = field.get_default(call_default_factory=True, validated_data={})
    made = FieldInfo(annotation=field.annotation, default=default, description=field.description)
    made.metadata = [each for each in field.metadata if not isinstance(each, BeforeValidator) and each is not NoDecode]
    return field.annotation, made


def _left_out(kind: Any, description: str) -> tuple[Any, FieldInfo]:
    return kind, FieldInfo(default=None, description=description)


def _without_nulls(schema: Any) -> Any:
    """Without defaults of null, which say nothing."""
    if isinstance(schema, list):
        return [_without_nulls(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_nulls(value) for key, value in schema.items() if (key, value) != ("default", None)}
