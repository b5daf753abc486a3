"""Spans, made by hand: `begin` one where a request comes in, and name its `stage`s on the way.

`here()` is the span that is under way in this task or thread. It is a `Span` only where the trace is recorded; a
request whose trace is not has its bare `TraceContext`, which is passed on, and all else without a trace has None. So
everything below tests one variable and does nothing else unless a trace is recorded.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Literal, Protocol, TypeVar

from clip_core.tracing.trace_context import TraceContext

Kind = Literal["internal", "server", "client", "consumer"]
Links = Sequence[TraceContext]
T = TypeVar("T")
_ids = random.Random()  # seeded by the system, and apart from what tests and models seed


class Sink(Protocol):
    """Where ended spans go, and what decides which traces are recorded."""

    def samples(self, parent: TraceContext | None, trace_id: int, name: str) -> bool: ...

    def end(self, span: Span) -> None: ...

    def close(self) -> None: ...


class Span:
    """Work of a recorded trace. Times are nanoseconds since 1970; `links` are given at creation.

    `waited_ns`: when the last call of another process in it ended; 0 before the first.
    """

    __slots__ = (
        *("_sink", "attributes", "context", "ended_ns", "error", "kind", "links", "name", "parent", "started_ns"),
        "waited_ns",
    )

    def __init__(
        self,
        sink: Sink,
        name: str,
        context: TraceContext,
        parent: TraceContext | None,
        *,
        kind: Kind = "internal",
        links: Links = (),
        started_ns: int | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self._sink, self.name, self.context, self.parent = sink, name, context, parent
        self.kind, self.links = kind, links
        self.started_ns = started_ns or time.time_ns()
        self.ended_ns = self.waited_ns = 0
        self.attributes: dict[str, Any] = {} if attributes is None else attributes
        self.error: str | None = None

    def child(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        links: Links = (),
        started_ns: int | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Span:
        """To be ended."""
        context = TraceContext(self.context.trace_id, _ids.getrandbits(64) or 1, True)
        return Span(
            self._sink,
            name,
            context,
            self.context,
            kind=kind,
            links=links,
            started_ns=started_ns,
            attributes=attributes,
        )

    def fail(self, reason: str) -> None:
        """`reason`: a low number of different ones, such as an error's code."""
        self.error = reason
        self.attributes["error.type"] = reason

    def end(self, at_ns: int | None = None) -> None:
        """Once; what is recorded never spoils an answer."""
        self.ended_ns = max(at_ns or time.time_ns(), self.started_ns)
        self._sink.end(self)


Place = Span | TraceContext | None
_here: ContextVar[Place] = ContextVar("span", default=None)
_sink: Sink | None = None


def use_sink(sink: Sink | None) -> Sink | None:
    """Of this process; None: no trace begins here. Returns the one before."""
    global _sink
    before, _sink = _sink, sink
    return before


def recording() -> bool:
    """Whether traces begin in this process."""
    return _sink is not None


def begin(
    name: str,
    parent: TraceContext | None = None,
    *,
    kind: Kind = "internal",
    started_ns: int | None = None,
    attributes: dict[str, Any] | None = None,
) -> Place:
    """A span to be ended where this trace is recorded, in `parent`'s trace or a new one; else what is passed on."""
    if _sink is None:
        return parent
    trace_id = parent.trace_id if parent is not None else _ids.getrandbits(128) or 1
    span_id = _ids.getrandbits(64) or 1
    if not _sink.samples(parent, trace_id, name):
        return TraceContext(trace_id, parent.span_id if parent is not None else span_id, False)
    context = TraceContext(trace_id, span_id, True)
    return Span(_sink, name, context, parent, kind=kind, started_ns=started_ns, attributes=attributes)


def here() -> Place:
    return _here.get()


def context_of(place: Place) -> TraceContext | None:
    return place.context if type(place) is Span else place  # type: ignore[return-value]


def trace_id() -> str | None:
    """Of what is under way, for log lines and error answers."""
    context = context_of(_here.get())
    return None if context is None else context.trace


def traceparent() -> str | None:
    """To be sent to a neighbour."""
    context = context_of(_here.get())
    return None if context is None else context.traceparent()


def passed_on() -> str | None:
    """`traceparent`, or one of a trace that is not recorded: what has none here, such as a probe, begins none there."""
    given = traceparent()
    return given if given is not None or _sink is None else _new_context(False).traceparent()


def _new_context(sampled: bool) -> TraceContext:
    return TraceContext(_ids.getrandbits(128) or 1, _ids.getrandbits(64) or 1, sampled)


def enter(place: Place) -> Token[Place]:
    """From here on, in this task or thread; the token is for `leave`."""
    return _here.set(place)


def leave(token: Token[Place]) -> None:
    _here.reset(token)


def carried(work: Callable[[], T]) -> Callable[[], T]:
    """`work` as part of what is under way here, wherever it runs."""
    place = _here.get()
    if place is None:
        return work

    def placed() -> T:
        token = _here.set(place)
        try:
            return work()
        finally:
            _here.reset(token)

    return placed


class stage:
    """A part of what is under way: `with stage("tokenize"):`. Its span is a child of the one around it.

    Shorter ones than `least_ns` are not recorded. The span, None where nothing is, takes attributes.
    """

    __slots__ = ("_around", "_attributes", "_kind", "_least_ns", "_name", "_token", "span")

    def __init__(
        self, name: str, *, kind: Kind = "internal", least_ns: int = 0, attributes: dict[str, Any] | None = None
    ) -> None:
        self._name, self._kind, self._least_ns, self._attributes = name, kind, least_ns, attributes
        self.span: Span | None = None
        self._around: Span | None = None

    def __enter__(self) -> Span | None:
        around = _here.get()
        if type(around) is Span:
            self._around = around
            self.span = around.child(self._name, kind=self._kind, attributes=self._attributes)
            self._token = _here.set(self.span)
        return self.span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        span = self.span
        if span is None:
            return
        _here.reset(self._token)
        if error is not None:
            span.fail(reason(error))
        now = time.time_ns()
        if self._around is not None and self._kind == "client":
            self._around.waited_ns = now
        if error is not None or now - span.started_ns >= self._least_ns:
            span.end(now)


class root(stage):
    """The same for work that no request asked for, such as a merge: the first span of a trace of its own."""

    __slots__ = ()

    def __enter__(self) -> Span | None:
        made = begin(self._name, kind=self._kind, attributes=self._attributes)
        if type(made) is Span:
            self.span = made
            self._token = _here.set(made)
        return self.span


def reason(error: BaseException) -> str:
    """An error's code where it has one."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else type(error).__name__
