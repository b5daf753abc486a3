"""Continuous batching: requests come and go between two tokens, and every token is one step of all that are live.

It knows nothing of TorchServe. One thread calls it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.caption import Caption, Event
from clip_core.captions.captioner import Captioner, Memory
from clip_core.captions.grid import Grid
from clip_core.captions.search import CaptionSearch
from clip_core.captions.searches import search_of
from clip_core.errors import ClipServeError, InferenceFailed, InvalidRequest, Overloaded

log = logging.getLogger("clipserve.captions")
_PICTURES_AT_ONCE = 8  # that pass the image tower together when they are admitted


@dataclass(eq=False)
class _Waiting:
    id: str
    pixels: Tensor
    ask: CaptionAsk
    prefix: list[int]


@dataclass(eq=False)
class _Live:
    """`read`: tokens of the prefix that all rows have read. `said`: the text that was told so far."""

    id: str
    prefix: list[int]
    search: CaptionSearch
    streams: bool
    read: int = 0
    said: str = ""


class Scheduler:
    """At most `most_rows` texts under way, and `most_waiting` requests behind them, first come, first served."""

    def __init__(self, captioner: Captioner, most_rows: int = 64, most_waiting: int = 256) -> None:
        self.captioner, self.most_rows, self.most_waiting = captioner, most_rows, most_waiting
        self.tokens_total = 0
        self._queue: deque[_Waiting] = deque()
        self._grids: dict[int, Grid[_Live]] = {}

    @property
    def live_rows(self) -> int:
        return sum(grid.lanes * len(grid.live) for grid in self._grids.values())

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def is_waiting(self, id: str) -> bool:
        """Whether it is in the queue, and has no place yet."""
        return any(each.id == id for each in self._queue)

    @property
    def cache_bytes(self) -> int:
        """Memory of all caches: the tokens' and the pictures' keys and values."""
        return sum(grid.bytes for grid in self._grids.values())

    @property
    def idle(self) -> bool:
        return not self._queue and not self._grids

    def add(self, id: str, pixels: Tensor, ask: CaptionAsk) -> None:
        """Queue a picture, (3, H, W) uint8. Raises InvalidRequest, BadText, or Overloaded when full."""
        if ask.rows > self.most_rows:
            raise InvalidRequest(
                f"{ask.rows} rows are asked for, at most {self.most_rows} are under way at once", param="n"
            )
        if tuple(pixels.shape) != (3, *self.captioner.image_size):
            raise InvalidRequest(f"pixels have the shape (3, H, W) of {self.captioner.image_size}", param="image")
        prefix = self.captioner.prefix(ask)
        if self._waiting_with(ask) > self.most_waiting:
            raise Overloaded(f"{self.most_waiting} captions are waiting already: try again later")
        self._queue.append(_Waiting(id, pixels, ask.seeded(), prefix))

    def cancel(self, id: str) -> None:
        """Forget a request; its caches are free at once. Unknown ids are none of ours any more."""
        self._queue = deque(each for each in self._queue if each.id != id)
        for grid, live in list(self._all()):
            if live.id == id:
                self._drop(grid, live)

    def run(self, tokens: int) -> list[Event]:
        """Up to `tokens` steps of all that are live or can be → what is new of each request, its end last."""
        events: list[Event] = []
        for _ in range(tokens):
            events += self._admit()
            if not self._grids:
                break
            for grid in list(self._grids.values()):
                events += self._step(grid)
        return [*self._news(), *events]

    def _waiting_with(self, ask: CaptionAsk) -> int:
        """How many would wait with this one, behind those that the free rows take in the next step."""
        free, waiting = self.most_rows - self.live_rows, 0
        for rows in (*(each.ask.rows for each in self._queue), ask.rows):
            waiting += waiting > 0 or rows > free
            free -= rows
        return waiting

    def _all(self) -> Iterator[tuple[Grid[_Live], _Live]]:
        for grid in self._grids.values():
            for place in grid.live:
                live = grid.places[place]
                assert live is not None, "a live place has an owner"
                yield grid, live

    def _drop(self, grid: Grid[_Live], live: _Live) -> None:
        grid.drop(live)
        if not grid.live:
            self._grids.pop(grid.lanes, None)

    def _admit(self) -> list[Event]:
        """As many of the queue, in its order, as there are rows for."""
        admitted: list[_Waiting] = []
        rows = self.live_rows
        while self._queue and rows + self._queue[0].ask.rows <= self.most_rows:
            admitted.append(self._queue.popleft())
            rows += admitted[-1].ask.rows
        events = []
        for first in range(0, len(admitted), _PICTURES_AT_ONCE):
            part = admitted[first : first + _PICTURES_AT_ONCE]
            for each, memory in zip(part, self._remember([each.pixels for each in part]), strict=True):
                if isinstance(memory, Memory):
                    self._place(each, memory)
                else:
                    events.append(Event(each.id, error=memory))
        return events

    def _remember(self, pictures: list[Tensor]) -> list[Memory | ClipServeError]:
        """Together; where that fails, each by itself, so that one picture is no other's error."""
        try:
            return [*self.captioner.remember(torch.stack(pictures))]
        except Exception:
            if len(pictures) > 1:
                return [memory for picture in pictures for memory in self._remember([picture])]
            log.exception("a picture can't be read by the captioner")
            return [InferenceFailed("the captioner can't read this picture; see the worker's log")]

    def _place(self, waiting: _Waiting, memory: Memory) -> None:
        ask = waiting.ask
        search = search_of(ask, waiting.prefix, self.captioner.ids)
        live = _Live(waiting.id, waiting.prefix, search, ask.streams)
        self._grids.setdefault(ask.rows, Grid(self.captioner, ask.rows)).put(live, memory)

    def _step(self, grid: Grid[_Live]) -> list[Event]:
        tokens = [0] * (len(grid.places) * grid.lanes)
        lengths = [0] * len(tokens)
        owners = [(place, live) for place in grid.live if (live := grid.places[place]) is not None]
        for place, live in owners:
            rows = slice(place * grid.lanes, (place + 1) * grid.lanes)
            in_prefix = live.read < len(live.prefix) - 1
            tokens[rows] = [live.prefix[live.read]] * grid.lanes if in_prefix else list(live.search.last())
            lengths[rows] = [live.read] * grid.lanes
        try:
            logits = grid.step(tokens, lengths)
        except Exception:
            log.exception("a step of the captioner failed")
            return [self._fail(grid, live) for _, live in owners]
        scores = torch.split(logits, grid.lanes)  # now, since places move when a request ends
        results = [self._take(grid, live, scores[place]) for place, live in owners]
        return [event for event in results if event is not None]

    def _take(self, grid: Grid[_Live], live: _Live, own: Tensor) -> Event | None:
        """What one request makes of its rows of scores, (lanes, V)."""
        live.read += 1
        self.tokens_total += grid.lanes
        if live.read < len(live.prefix):
            return None
        if not bool(own.isfinite().all()):
            return self._fail(grid, live)
        parents = live.search.take(own)
        if live.search.done:
            captions = self._captions(live)
            self._drop(grid, live)
            delta = captions[0].text[len(live.said) :] if live.streams else ""
            return Event(live.id, delta, captions)
        if parents is not None:
            grid.move(live, parents)
        return None

    def _fail(self, grid: Grid[_Live], live: _Live) -> Event:
        self._drop(grid, live)
        return Event(live.id, error=InferenceFailed("the captioner failed on this picture; see the worker's log"))

    def _captions(self, live: _Live) -> tuple[Caption, ...]:
        return tuple(
            Caption(self.captioner.text(each.ids), each.logprob, each.ids, "stop" if each.ended else "length")
            for each in live.search.found()
        )

    def _news(self) -> list[Event]:
        """Text that is new since the last call of those that stream, but for a character that is not whole yet."""
        events = []
        for _, live in self._all():
            if live.streams and live.read >= len(live.prefix):
                text = self.captioner.text(live.search.spoken()).rstrip("\ufffd")
                if len(text) > len(live.said):
                    events.append(Event(live.id, text[len(live.said) :]))
                    live.said = text
        return events
