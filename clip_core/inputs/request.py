"""A parsed request: the items to encode, and what to do with their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clip_core.errors import ClipServeError
from clip_core.tracing.trace_context import NO_CALLERS, Callers
from clip_core.wire import FloatArray, SearchPart

Format = Literal["base64", "float"]


@dataclass(frozen=True)
class Part:
    """A text, an image's bytes or a vector (D,) float32. A negative weight pushes the item away from it."""

    kind: str
    value: str | bytes | FloatArray
    weight: float = 1.0


@dataclass(frozen=True)
class Item:
    """One input with one vector: the normalised weighted sum of its parts' unit vectors."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Request:
    """The inputs of one request. A bad input is its error. `single`: the body had one input and no list."""

    items: tuple[Item | ClipServeError, ...]
    single: bool
    encoding_format: Format = "base64"
    cut_long_texts: bool = True
    search: SearchPart | None = None
    v2: bool = False
    v2_id: str | None = None
    places: tuple[str, ...] = ()  # of a KServe v2 request: text[0], text[1], …
    request_id: str | None = None
    described: bool = False  # the answer tells the model's facts, too
    callers: Callers = NO_CALLERS


@dataclass(frozen=True)
class AdminRequest:
    """The object under `admin` in the body, not checked."""

    body: Mapping[str, Any]


@dataclass(frozen=True)
class Accepts:
    """The kinds of part that an endpoint takes, and the kind of a bare string or of raw bytes."""

    kinds: frozenset[str]
    bare: str
    max_inputs: int = 256
