"""NDJSON: a body of any length, one JSON object a line, of which only a batch is held at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from starlette.requests import Request

from clip_core.errors import BadJson, ClipServeError, TooLarge
from clip_core.wire import load_json
from gateway.inputs.value_limits import VALUES_EACH, check_values

_LINE_VALUES = 8 * VALUES_EACH  # of one item


class Line(NamedTuple):
    """`number` counts from 1; `value` is an error when the line is not JSON."""

    number: int
    value: Any


async def batches(request: Request, size: int, max_line_bytes: int) -> AsyncIterator[list[Line]]:
    """At most `size` lines at a time; empty ones are left out. Raises TooLarge for a line over the limit.

    A batch of fewer lines ends once it holds `max_line_bytes`. What ends the body is raised after the lines before it.
    """
    batch: list[Line] = []
    held = 0
    try:
        async for number, text in _lines(request, max_line_bytes):
            if text and not text.isspace():
                batch.append(Line(number, _parsed(number, text)))
                held += len(text)
            if len(batch) == size or held >= max_line_bytes:
                yield batch
                batch, held = [], 0
    except ClipServeError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


async def _lines(request: Request, max_bytes: int) -> AsyncIterator[tuple[int, bytearray]]:
    """Each byte is copied a few times at most, in however many pieces a line comes."""
    number, begun = 1, bytearray()
    async for chunk in request.stream():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            begun += end
            _check(begun, number, max_bytes)
            yield number, begun
            number, begun = number + 1, bytearray()
        begun += rest
        _check(begun, number, max_bytes)
    yield number, begun


def _check(text: bytes | bytearray, number: int, max_bytes: int) -> None:
    if len(text) > max_bytes:
        raise TooLarge(
            f"line {number} is longer than {max_bytes} bytes; the lines before it are in", param=f"line {number}"
        )


def _parsed(number: int, text: bytearray) -> Any:
    try:
        check_values(text, _LINE_VALUES)
        return load_json(text)
    except TooLarge as error:
        error.param = f"line {number}"
        return error
    except BadJson as error:
        return BadJson(f"line {number} is not JSON: {error}", param=f"line {number}")
