"""What came back for the inputs of a call: one outcome each, the model that encoded them, and the times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clip_core.errors import (
    AssistantUnauthorized,
    AssistantUnavailable,
    BadInput,
    ClipServeError,
    Conflict,
    InferenceFailed,
    Overloaded,
    TorchServeUnavailable,
    UnknownPrice,
    WorkerLost,
    from_dict,
)
from gateway.encode.chunks import EncodeChunk
from gateway.encode.served_model import ServedModel
from gateway.fetch.url_images import Fetched
from gateway.inputs.source import Source
from gateway.upstream.replies import EncodeReply, ReplyEntry, stage_times

Answer = EncodeReply | ClipServeError  # to a chunk
Outcome = ReplyEntry | ClipServeError  # of an input
_SEARCH_FIELDS = ("collection", "k", "filter", "include", "exact", "search")


@dataclass
class EncodedInputs:
    """`outcomes` has one entry an input, in order: the handler's entry, or the error of that input. So has
    `sources`: the input with its pictures fetched, or why one could not be.

    Requests run side by side, so each time in milliseconds is that of the slowest. `queue_ms` is what TorchServe took
    beyond encoding and searching: waiting for the batch, and transport.
    """

    outcomes: list[Outcome]
    sources: Sequence[Fetched] = ()
    served: ServedModel | None = None
    encode_ms: float = 0.0
    search_ms: float = 0.0
    queue_ms: float = 0.0

    def fail(self, chunk: EncodeChunk, error: ClipServeError) -> None:
        """Note one error for all inputs of the chunk."""
        for place in chunk.places:
            self.outcomes[place] = error

    def add(self, chunk: EncodeChunk, answer: EncodeReply, served: ServedModel) -> None:
        """Note the answer to a chunk. Raises Conflict when another model answered an earlier chunk."""
        if self.served is not None and self.served.fingerprint != served.fingerprint:
            names = f"{self.served.model} {self.served.fingerprint} and {served.model} {served.fingerprint}"
            raise Conflict(f"TorchServe's endpoints serve different models ({names}); try again after the roll-out")
        self.served = served
        encode_ms, search_ms = stage_times(answer)
        self.encode_ms = max(self.encode_ms, encode_ms)
        self.search_ms = max(self.search_ms, search_ms)
        self.queue_ms = max(self.queue_ms, chunk.ms - encode_ms - search_ms)
        for place, source, entry in zip(chunk.places, chunk.sources, answer["data"], strict=False):
            self.outcomes[place] = _outcome(entry, source)

    def model(self) -> ServedModel:
        """The model that encoded the inputs. Raises the first error when nothing was encoded."""
        if self.served is None:
            raise self.first_error() or InferenceFailed("TorchServe encoded nothing")
        return self.served

    def stages(self) -> dict[str, float]:
        """Milliseconds by stage, for the Server-Timing header."""
        times = {"queue": self.queue_ms, "encode": self.encode_ms, "search": self.search_ms}
        return {name: ms for name, ms in times.items() if ms}

    def first_error(self) -> ClipServeError | None:
        """The error of the first input that has one."""
        return next((outcome for outcome in self.outcomes if isinstance(outcome, ClipServeError)), None)

    def entries(self) -> list[ReplyEntry]:
        """The handlers' entries, one an input. Raises the first error when there is one."""
        error = self.first_error()
        if error is not None:
            raise error
        return [outcome for outcome in self.outcomes if not isinstance(outcome, ClipServeError)]


_UNTRIED = (Overloaded, TorchServeUnavailable, AssistantUnavailable, AssistantUnauthorized, UnknownPrice)


def is_untried(answer: object) -> bool:
    """Whether no model worked on the request. A lost worker did."""
    return isinstance(answer, _UNTRIED) and not isinstance(answer, WorkerLost)


def _outcome(entry: ReplyEntry, source: Source) -> Outcome:
    """The entry, or its error; an error about the input names the input's place in the caller's request."""
    if entry.get("status", 200) == 200:
        return entry
    error = from_dict(entry, entry["status"])
    if isinstance(error, BadInput) and not str(error.param).startswith(_SEARCH_FIELDS):
        error.param = source.param
    return error
