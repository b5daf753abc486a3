"""The base of all schemas (unknown fields are refused), the error envelope, and texts that several schemas share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clip_core.old_names.taking import old_names, with_new_names

VECTOR = "base64 of little-endian float32, or a list of numbers"


IMAGE = "A data: URI or bare base64; as multipart/form-data, a file"


PIXEL = (  # one red pixel, for the examples
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


_log = logging.getLogger("gateway")


@cache
def tell_once(where: str, *lines: str) -> None:
    """Each in the log, once in a process."""
    for line in lines:
        _log.warning("%s: %s", where, line)


class Schema(BaseModel):
    """A body whose unknown fields are refused, so that a misspelt name does not pass unseen.

    `old_names` of fields are still taken until the next minor release: old name → name.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    old_names: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _with_one_unknown(cls, given: Any) -> Any:
        """One unknown field is enough to refuse a body: pydantic takes 10 µs for each that it finds."""
        known = cls.model_fields
        if isinstance(given, dict) and not cls.old_names.keys().isdisjoint(given):
            tell_once(cls.__name__, *old_names(given, cls.old_names))
            given = with_new_names(given, cls.old_names)
        if not isinstance(given, dict) or len(given) <= len(known):
            return given
        unknown = [name for name in given if name not in known][:1]
        return {name: given[name] for name in (*known, *unknown) if name in given}


def old_name_of(body: Any, place: Sequence[str | int]) -> str | None:
    """The old name by which a body gives the field at this place, whose errors pydantic names by the new one."""
    renamed = {new: old for schema in _schemas(Schema) for old, new in schema.old_names.items()}
    for part in place:
        if isinstance(body, dict) and part not in body and (old := renamed.get(str(part))) in body:
            return old
        inside = (isinstance(body, dict) and part in body) or (isinstance(body, list) and isinstance(part, int))
        body = body[part] if inside else body  # the other parts are classes that pydantic tried
    return None


def _schemas(schema: type[Schema]) -> Iterator[type[Schema]]:
    yield schema
    for each in schema.__subclasses__():
        yield from _schemas(each)


def example(value: dict[str, Any], *, extra: Literal["forbid", "allow"] = "forbid") -> ConfigDict:
    return ConfigDict(extra=extra, protected_namespaces=(), json_schema_extra={"examples": [value]})


class ErrorBody(Schema):
    message: str
    type: str
    param: str | None = None
    code: str
    trace_id: str | None = Field(None, description="Of the request's trace, where it has one.")


class ErrorEnvelope(Schema):
    model_config = example(
        {
            "error": {
                "message": "`k` is a whole number from 1 to 10000",
                "type": "invalid_request_error",
                "param": "k",
                "code": "bad_input",
            }
        }
    )
    error: ErrorBody


class Timing(Schema):
    total_ms: float
    encode_ms: float
    search_ms: float
