"""The one core call behind every embedding dialect: sources → vectors in their order, or one error naming the item."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pybase64

from clip_core.errors import BadInput, InvalidRequest, TooLarge
from clip_core.wire import FloatArray, encode_vector, unit
from gateway.encode.chunks import Ask
from gateway.encode.encoder import Encoder
from gateway.encode.served_model import ServedModel, check_model
from gateway.inputs.source import Source
from gateway.trace import current_trace

FORMATS = ("float", "base64", "binary", "ubinary")
_AT_ONCE = 64  # vectors, whose numbers take a few milliseconds to write


@dataclass(frozen=True)
class Options:
    """What a dialect may ask of its vectors; `dimensions_field` is what it calls that number."""

    model: object = None
    dimensions: object = None
    truncate: str | None = None
    dimensions_field: str = "dimensions"


@dataclass(frozen=True)
class Embedded:
    """`vectors`: base64 of unit-norm little-endian float32, one a source, in order."""

    served: ServedModel
    vectors: list[str]
    tokens: int
    truncated: list[bool]


async def embed(encoder: Encoder, sources: Sequence[Source], options: Options) -> Embedded:
    """`encoder` is that of `options.model`. Raises the first error among the sources; its `param` names the place."""
    encoded = await encoder.run([Ask(source) for source in sources], truncate=options.truncate)
    current_trace().stages.update(encoded.stages())
    served = encoded.model()
    check_model(options.model, served)
    dim = _dimensions(options, served)
    entries = encoded.entries()
    vectors = [entry["embedding"] if dim == served.dim else shortened(entry["embedding"], dim) for entry in entries]
    tokens = sum(entry.get("tokens") or 0 for entry in entries)
    return Embedded(served, vectors, tokens, [bool(entry.get("truncated")) for entry in entries])


def check_number(sources: Sequence[object], most: int, param: str) -> None:
    """Raises InvalidRequest for none at all, and TooLarge."""
    if not sources:
        raise InvalidRequest(f"`{param}` is an empty list", param=param)
    if len(sources) > most:
        raise TooLarge(f"{len(sources)} inputs in one call; at most {most}", param=param)


def shortened(encoded: str, dim: int) -> str:
    """The first `dim` numbers, of norm 1 again: Matryoshka representation learning, Kusupati et al., 2022."""
    return encode_vector(unit(floats(encoded)[:dim]))


def floats(encoded: str) -> FloatArray:
    """A handler's base64 vector → (D,) float32; the handlers vouch for it, so it is not checked again."""
    return np.frombuffer(pybase64.b64decode(encoded), dtype="<f4")


def formatted(encoded: str, kind: str) -> Any:
    """`kind` is one of FORMATS. The binary ones are the signs, eight to a byte, as Cohere and Jina pack them."""
    if kind == "base64":
        return encoded
    if kind == "float":
        return floats(encoded)
    packed = np.packbits(floats(encoded) > 0)
    return packed if kind == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)


async def written(vectors: Sequence[str], kind: str) -> list[Any]:
    """Each vector in this format. Many are JSON already, a few at a time: 2,048 at once would hold up all requests."""
    if len(vectors) <= _AT_ONCE or kind == "base64":
        return [formatted(vector, kind) for vector in vectors]
    done: list[Any] = []
    for start in range(0, len(vectors), _AT_ONCE):
        done += [_fragment(formatted(vector, kind)) for vector in vectors[start : start + _AT_ONCE]]
        await asyncio.sleep(0)
    return done


def _fragment(numbers: Any) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY))


def _dimensions(options: Options, served: ServedModel) -> int:
    """Raises BadInput unless the model's own number is asked for, or one that its vectors may be cut to."""
    dim, allowed = options.dimensions, (served.dim, *served.matryoshka_dimensions)
    if dim is None:
        return served.dim
    if type(dim) is not int or dim not in allowed:
        names = ", ".join(map(str, allowed))
        raise BadInput(f"{served.model!r} has vectors of these dimensions: {names}", param=options.dimensions_field)
    return dim


def choice(value: object, name: str, allowed: Sequence[str], default: str) -> str:
    """`value` if it is allowed, `default` if it is None. Raises InvalidRequest that names the field."""
    if value is None:
        return default
    if not isinstance(value, str) or value not in allowed:
        raise InvalidRequest(f"`{name}` is one of {', '.join(allowed)}", param=name)
    return value
