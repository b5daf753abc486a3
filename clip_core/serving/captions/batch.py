"""Captions under way, over many calls of TorchServe's continuous batching: what each request gets of one call.

It knows TorchServe's ids of requests, and nothing else of it. The scheduler of `clip_core.captions` does the work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from clip_core.captions.caption import Event
from clip_core.captions.memories import Memories
from clip_core.captions.scheduler import Scheduler
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import ClipServeError, InferenceFailed
from clip_core.inputs.decode_threads import Decoder
from clip_core.inputs.images import decode_unguarded, pil_warnings_ignored
from clip_core.model_spec import ModelSpec
from clip_core.serving.captions.answers import (
    Piece,
    broken_off,
    captions_body,
    drafts_body,
    head,
    last,
    more,
    refused,
    scores_body,
    whole,
)
from clip_core.serving.captions.request import CaptionCall
from clip_core.serving.captions.scoring import TextScoring
from clip_core.serving.captions.spans import begin_caption, end_caption
from clip_core.towers.pass_counts import PassCounts
from clip_core.tracing.spans import Span

log = logging.getLogger("clipserve.captions")


@dataclass
class Underway:
    """A request that has come and is not answered. Times are of the monotonic clock; 0: not yet."""

    id: str
    request: CaptionCall
    came: float
    spans: list[Span]
    prompt_tokens: int = 0
    admitted: float = 0.0
    first: float = 0.0  # its first delta
    begun: bool = False  # a piece of its stream was given


@dataclass(frozen=True)
class Finished:
    """How a request ended. `status` is 499 where its client left."""

    underway: Underway
    seconds: float
    status: int
    code: str | None = None
    tokens: int = 0


@dataclass
class CaptionBatch:
    """Where it is not `continuous`, a call captions what came to its end, and nothing streams.

    `call_s`: no further step begins when a call has taken so long, or, where a caption is ready, `ready_s`: its client
    waits, and the row is idle until the next request takes it. TorchServe's own part of a call is about 1 ms.
    `finished` is told of each request that ends, and spoils no answer.
    """

    endpoint: str
    spec: ModelSpec
    scheduler: Scheduler
    config: EndpointConfig
    continuous: bool = True
    finished: Callable[[Finished], None] = lambda _: None
    call_s: float = 0.1
    ready_s: float = 0.02
    tally: PassCounts = field(default_factory=PassCounts)

    def __post_init__(self) -> None:
        self._live: dict[str, Underway] = {}
        self.memories = Memories(self.config.caption_image_cache_bytes)
        self._scorer = TextScoring(self.scheduler.captioner, self.memories, self._prepared)
        self._decoder = Decoder(self.config.decode_threads or self.config.threads)

    def knows(self, id: str) -> bool:
        return id in self._live

    def leave_only(self, present: AbstractSet[str]) -> None:
        """Requests that are not `present` any more have lost their clients: what they hold is free at once."""
        for id in self._live.keys() - present:
            self.scheduler.cancel(id)
            self._end(self._live.pop(id), 499, "client_left")

    def call(self, arrived: Mapping[str, CaptionCall]) -> dict[str, Piece]:
        """Take these in, go on for a few tokens; some requests get nothing yet."""
        pieces = self._admit(arrived) | self._advance()
        while self._live and not self.continuous:
            pieces |= self._advance()
        for id, live in self._live.items():
            if self._streams(live) and not live.begun:
                live.begun = True
                pieces[id] = more("")
        return pieces

    def _admit(self, arrived: Mapping[str, CaptionCall]) -> dict[str, Piece]:
        now, now_ns = time.perf_counter(), time.time_ns()
        for id, request in arrived.items():
            self._live[id] = Underway(id, request, now, begin_caption(self.endpoint, request, now_ns))
        with self.tally.timed("decode"):
            lone = [id for id, request in arrived.items() if request.pictures is None]
            pixels = dict(zip(lone, self._prepared([arrived[id].picture for id in lone]), strict=True))
        taken = [(id, self._take(self._live[id], pixels.get(id))) for id in arrived]
        return {id: piece for id, piece in taken if piece is not None}

    def _take(self, live: Underway, pixels: Tensor | ClipServeError | None) -> Piece | None:
        """The scores at once, or why not; a caption is the scheduler's."""
        try:
            return self._taken(live, pixels)
        except ClipServeError as error:
            return self._refuse(live.id, error)
        except Exception:
            log.exception("a request can't be taken", extra={"request_ids": [live.request.request_id]})
            return self._refuse(live.id, _failed())

    def _prepared(self, pictures: Sequence[bytes]) -> list[Tensor | ClipServeError]:
        with pil_warnings_ignored():
            return list(self._decoder.map(self._pixels, pictures))

    def _pixels(self, picture: bytes) -> Tensor | ClipServeError:
        """(3, H, W) uint8"""
        try:
            return self.scheduler.captioner.transform(decode_unguarded(picture, self.config.max_image_pixels))
        except ClipServeError as error:
            error.param = error.param or "image"
            return error
        except Exception:  # such as of memory: it is no other picture's
            log.exception("a picture can't be prepared")
            return InferenceFailed("this picture can't be prepared; see the worker's log", param="image")

    def _taken(self, live: Underway, pixels: Tensor | ClipServeError | None) -> Piece | None:
        """Raises ClipServeError."""
        if isinstance(pixels, ClipServeError):
            raise pixels
        request = live.request
        if request.texts is None:
            assert pixels is not None
            live.prompt_tokens = len(self.scheduler.captioner.prefix(request.ask)) - 1
            self.scheduler.add(live.id, pixels, request.ask, request.drafts, request.drafts_from)
            return None
        with self.tally.timed("score"):
            scored = self._scored(request, pixels)
        body = {**scored, **head(self.spec, described=request.described)}
        self._end(self._live.pop(live.id), 200)
        return whole(body)

    def _scored(self, request: CaptionCall, pixels: Tensor | None) -> dict[str, Any]:
        """Raises BadText."""
        assert request.texts is not None
        if request.pictures is not None:
            return self._scorer.body(request.pictures, request.texts, request.most_tokens)
        assert pixels is not None
        captioner = self.scheduler.captioner
        texts = captioner.read(request.texts)
        return scores_body(captioner.score(captioner.remember(pixels[None])[0], texts), texts.counts)

    def _advance(self) -> dict[str, Piece]:
        try:
            with self.tally.timed("captioner"):
                events = self._events()
        except Exception:  # nothing is known of what it was about
            log.exception("the captioner failed; what was under way is given up")
            events = [Event(id, error=_failed()) for id in self._live]
            for id in self._live:
                self.scheduler.cancel(id)
        return dict(self._pieces(events))

    def _events(self) -> list[Event]:
        """Of `caption_call_tokens` steps, or fewer long ones: at a call's end others come in and answers go out."""
        events, began = list[Event](), time.perf_counter()
        for _ in range(self.config.caption_call_tokens):
            events += self.scheduler.run(1)
            ready = any(event.captions is not None for event in events)
            if self.scheduler.idle or time.perf_counter() - began > (self.ready_s if ready else self.call_s):
                break
        return events

    def _pieces(self, events: Sequence[Event]) -> Iterator[tuple[str, Piece]]:
        """One for each request; the deltas of one call are put together."""
        now, deltas = time.perf_counter(), dict[str, str]()
        for live in self._live.values():
            if not live.admitted and not self.scheduler.is_waiting(live.id):
                live.admitted = now
        for event in events:
            if event.id not in self._live:
                continue
            live = self._live[event.id]
            deltas[event.id] = deltas.get(event.id, "") + event.delta
            live.first = live.first or (now if event.delta else 0.0)
            if event.error is not None:
                yield event.id, self._refuse(event.id, event.error)
            elif event.captions is not None:
                yield event.id, self._finish(live, event, deltas[event.id])
        for id, delta in deltas.items():
            if delta and id in self._live and self._streams(self._live[id]):
                self._live[id].begun = True
                yield id, more(delta)

    def _finish(self, live: Underway, event: Event, delta: str) -> Piece:
        assert event.captions is not None
        told = captions_body(event.captions, live.prompt_tokens, self.scheduler.captioner.image_tokens)
        if live.request.drafts:
            told |= drafts_body(event.drafts, speculates=self.scheduler.speculation is not None)
        now = time.perf_counter()
        admitted = live.admitted or now
        timing = {"queue_ms": _ms(admitted - live.came), "caption_ms": _ms(now - admitted)}
        body = {**told, **head(self.spec, described=live.request.described), "timing": timing}
        self._end(self._live.pop(live.id), 200, tokens=told["usage"]["caption_tokens"])
        if not live.request.stream:
            return whole(body)
        return last(delta if self._streams(live) else "", body, begun=live.begun)

    def _streams(self, live: Underway) -> bool:
        return self.continuous and live.request.stream and live.request.in_pieces

    def _refuse(self, id: str, error: ClipServeError) -> Piece:
        live = self._live.pop(id)
        self._end(live, error.status, error.code)
        return broken_off(error) if live.begun else refused(error)

    def _end(self, live: Underway, status: int, code: str | None = None, tokens: int = 0) -> None:
        done = Finished(live, time.perf_counter() - live.came, status, code, tokens)
        first = {"clipserve.caption.first_ms": _ms(live.first - live.came)} if live.first else {}
        try:
            end_caption(live.spans, status, code, {"gen_ai.usage.output_tokens": tokens, **first})
            self.finished(done)
        except Exception:
            log.exception("a caption can't be recorded")


def _failed() -> ClipServeError:
    return InferenceFailed("the captioner failed on this request; see the worker's log")


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
