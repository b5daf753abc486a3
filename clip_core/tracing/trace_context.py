"""Where in which trace something happens, as it goes from process to process: W3C Trace Context."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LENGTH, _LONGEST = 55, 512
_SAMPLED = 0x01
_MOST = 1024  # contexts of a request
_LAST_S = 1e11


class TraceContext(NamedTuple):
    """A span by its ids, and whether its trace is recorded."""

    trace_id: int
    span_id: int
    sampled: bool

    @property
    def trace(self) -> str:
        """The trace's id as it is written everywhere: 32 hexadecimal digits."""
        return f"{self.trace_id:032x}"

    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{'01' if self.sampled else '00'}"


def read_traceparent(value: object) -> TraceContext | None:
    """None for what is no `traceparent`. Whatever comes is no error of the request that brings it.

    A version after 00 may go on after what 00 has, which is what is read of it.
    """
    if not isinstance(value, str) or not _LENGTH <= len(value) <= _LONGEST:
        return None
    found = _TRACEPARENT.fullmatch(value)
    if found is None or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return TraceContext(trace_id, span_id, bool(int(found[4], 16) & _SAMPLED)) if trace_id and span_id else None


@dataclass(frozen=True)
class Callers:
    """Of one request: the spans that sent it, several where it is shared, and when: seconds since 1970, or 0."""

    contexts: tuple[TraceContext, ...] = ()
    sent_s: float = 0.0

    @classmethod
    def read(cls, traceparent: object, sent: object = None) -> Callers:
        """`traceparent`: one, or a list of them; those that are none are left out."""
        given = traceparent[:_MOST] if isinstance(traceparent, list) else [traceparent]
        contexts = tuple(found for each in given if (found := read_traceparent(each)) is not None)
        known = isinstance(sent, int | float) and not isinstance(sent, bool) and 0 < sent < _LAST_S
        return (
            cls(contexts, float(sent) if known and isinstance(sent, int | float) else 0.0) if contexts else NO_CALLERS
        )


NO_CALLERS = Callers()
