"""The rows of the models that a gateway serves: a name, its TorchServe, its endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from clip_core.setting_checks import http_url, one_line
from gateway.encode.endpoints import Endpoints

ENDPOINT = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
_KINDS = ("text", "image", "multimodal")
_MOST_ROWS = 256  # each has gauges, limits and connections of its own


class RowsError(ValueError):
    """What is wrong with the rows, in one line."""


def _url(value: str) -> str:
    return http_url(value) if value else ""


_Url = Annotated[str, AfterValidator(_url)]
_Endpoint = Annotated[str, Field(pattern=ENDPOINT)]
_EndpointOrNone = Annotated[str, Field(pattern=f"{ENDPOINT}|^$")]


class ModelRow(BaseModel):
    """A model. Endpoints left out are `<name>_text` and so on. Without addresses it is on the gateway's own TorchServe.

    Without a name it has the one that its handlers say. `caption` is "" where no captions are wanted; left out it is
    named as `text` is, and the model has a captioner once TorchServe knows that endpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", max_length=200)
    text: _Endpoint
    image: _Endpoint
    multimodal: _Endpoint
    caption: _EndpointOrNone | None = None
    torchserve_url: _Url = ""
    management_url: _Url = ""
    metrics_url: _Url = ""
    default: bool = False
    added: bool = False  # by `clipserve model add`: `up` serves it again

    @model_validator(mode="before")
    @classmethod
    def _named_after_the_model(cls, given: Any) -> Any:
        name = given.get("name") if isinstance(given, dict) else None
        return {**{kind: f"{name}_{kind}" for kind in _KINDS}, **given} if isinstance(name, str) else given

    @field_validator("name")
    @classmethod
    def _is_one_line(cls, value: str) -> str:
        one_line(value)
        return value

    @model_validator(mode="after")
    def _has_both_addresses(self) -> ModelRow:
        """The management API of another TorchServe would say that this one has no workers."""
        if bool(self.torchserve_url) != bool(self.management_url):
            raise ValueError("`torchserve_url` and `management_url` go together")
        return self

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.text, self.image, self.multimodal)

    def all_endpoints(self) -> tuple[str, ...]:
        """Also the captioner's, which TorchServe may not have."""
        return (*self.endpoints.all(), *([self.caption_endpoint] if self.caption_endpoint else []))

    @property
    def caption_endpoint(self) -> str:
        """Where captions are asked for; "" for none."""
        return f"{self.text.removesuffix('_text')}_caption" if self.caption is None else self.caption


class ModelRows(BaseModel):
    """What a file of rows holds. One row at most is the default; without such a row it is the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[ModelRow, ...] = Field((), max_length=_MOST_ROWS)

    @model_validator(mode="after")
    def _each_has_a_name_of_its_own(self) -> ModelRows:
        names = [row.name for row in self.models]
        for name in names:
            if not name:
                raise ValueError("a row has no `name`")
            if names.count(name) > 1:
                raise ValueError(f"two models are named {name!r}")
        if sum(row.default for row in self.models) > 1:
            raise ValueError("two models are the default")
        return self


def parse_rows(content: bytes) -> tuple[ModelRow, ...]:
    """`{"models": [row, …]}`, the default one first. Raises RowsError."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RowsError(f"no JSON: {error}") from error
    return tuple(sorted(_validated(body).models, key=lambda row: not row.default))


def check_rows(rows: Sequence[ModelRow]) -> None:
    """Raises RowsError for rows that don't go together."""
    _validated({"models": [row.model_dump() for row in rows]})


def _validated(body: object) -> ModelRows:
    try:
        return ModelRows.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise RowsError(f"{place}: {message}".removeprefix(": ")) from error


def read_rows(path: Path) -> tuple[ModelRow, ...]:
    """Raises RowsError that names the file."""
    try:
        return parse_rows(path.read_bytes())
    except (OSError, RowsError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RowsError(f"the file of models {path} can't be used: {reason}") from error


def rows_text(rows: Sequence[ModelRow]) -> str:
    """What `parse_rows` reads."""
    told = [row.model_dump(exclude_defaults=True) for row in rows]
    return orjson.dumps({"models": told}, option=orjson.OPT_INDENT_2).decode() + "\n"
