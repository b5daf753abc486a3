"""Continuous batching: requests come and go between two tokens, and every token is one step of all that are live.

It knows nothing of TorchServe. One thread calls it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clip_core.caption_caches.choice import CacheChoice
from clip_core.caption_caches.store import CacheStore
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.caption import Caption, Event
from clip_core.captions.captioner import Captioner, Memory
from clip_core.captions.grid import Grid
from clip_core.captions.live import LiveCaption, WaitingCaption
from clip_core.captions.searches import search_of
from clip_core.captions.speculation import Speculation
from clip_core.errors import ClipServeError, InferenceFailed, InvalidRequest, Overloaded

log = logging.getLogger("clipserve.captions")
_PICTURES_AT_ONCE = 8  # that pass the image tower together when they are admitted


@dataclass
class PreemptionCounts:
    """What became of requests for want of memory."""

    preempted: int = 0
    tokens_again: int = 0  # that preempted rows had to read once more


class Scheduler:
    """At most `most_rows` texts under way, and `most_waiting` requests behind them, first come, first served.

    `cache`: what holds keys and values, and how many bytes of them. A request that needs more than are left waits;
    where those under way need more, the youngest gives up its own and waits at the head of the queue. It reads its
    tokens again later and goes on. Raises ValueError for a cache that does not suit the model.

    Without a `speculation`, and where bytes are bounded, drafts are left alone.
    """

    def __init__(
        self,
        captioner: Captioner,
        most_rows: int = 64,
        most_waiting: int = 256,
        cache: CacheChoice | None = None,
        speculation: Speculation | None = None,
    ) -> None:
        self.captioner, self.most_rows, self.most_waiting = captioner, most_rows, most_waiting
        self.speculation = speculation if cache is None or not cache.budget else None
        self.store = CacheStore(
            cache or CacheChoice(), captioner.cache_shape, most_rows, contiguous=captioner.programs.compiled
        )
        budget, least = self.store.choice.budget, captioner.picture_bytes + self.store.alone(1, 2)
        if 0 < budget < least:
            raise ValueError(f"caption_kv_cache_bytes: {budget} do not hold one picture and its text, {least} do")
        self.counts = PreemptionCounts()
        self.tokens_total = 0
        self._admitted = 0
        self._queue: deque[WaitingCaption] = deque()
        self._grids: dict[int, Grid[LiveCaption]] = {}

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
    def live_requests(self) -> int:
        return sum(len(grid.live) for grid in self._grids.values())

    @property
    def grids(self) -> Sequence[Grid[Any]]:
        """Those with live requests."""
        return list(self._grids.values())

    @property
    def idle(self) -> bool:
        return not self._queue and not self._grids

    def add(self, id: str, pixels: Tensor, ask: CaptionAsk, drafts: Sequence[str] = (), origin: str = "") -> None:
        """Queue a picture, (3, H, W) uint8. Raises InvalidRequest, BadText, or Overloaded when full.

        `drafts`: texts that its caption may resemble, the likest first. They change how fast it comes, and not a token.
        `origin`: where they come from; what drafts bring is learned of each apart.
        """
        if ask.rows > self.most_rows:
            raise InvalidRequest(
                f"{ask.rows} rows are asked for, at most {self.most_rows} are under way at once",
                param="beams" if ask.method == "beam" else "n",
            )
        if tuple(pixels.shape) != (3, *self.captioner.image_size):
            raise InvalidRequest(f"pixels have the shape (3, H, W) of {self.captioner.image_size}", param="image")
        prefix = self.captioner.prefix(ask)
        self._check_bytes(ask)
        new = WaitingCaption(id, pixels, ask.seeded(), prefix, drafts, origin)
        if self._waiting_with(new) > self.most_waiting:
            raise Overloaded(f"{self.most_waiting} captions are waiting already: try again later")
        self._queue.append(new)

    def cancel(self, id: str) -> None:
        """Forget a request; its caches are free at once. Unknown ids are none of ours any more."""
        self._queue = deque(each for each in self._queue if each.id != id)
        for grid, live in list(self._all()):
            if live.id == id:
                self._drop(grid, live)
                grid.tidy()

    def pause(self) -> None:
        """What is under way gives up its caches, and goes on in the next `run` with the same tokens."""
        for grid, live in sorted(self._all(), key=lambda each: each[1].number, reverse=True):
            self._put_back(grid, live)

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

    def bytes_alone(self, ask: CaptionAsk) -> int:
        """Of keys and values at the end of such a request, when nothing else is there."""
        return self.store.alone(ask.rows, ask.max_tokens) + self.captioner.picture_bytes

    def _check_bytes(self, ask: CaptionAsk) -> None:
        """What can have all of the cache for itself ends in any case. Raises InvalidRequest."""
        budget = self.store.choice.budget
        needed = self.bytes_alone(ask) if budget else 0
        if needed > budget:
            raise InvalidRequest(
                f"{ask.rows} texts of up to {ask.max_tokens} tokens need {needed} bytes of the captioner's cache, "
                f"which has {budget}: ask for fewer or shorter ones",
                param="max_tokens",
            )

    def _waiting_with(self, new: WaitingCaption) -> int:
        """How many would wait with this one, behind those that the free rows take in the next step.

        All do where the first of them waits for bytes.
        """
        free, ahead = self.most_rows - self.live_rows, [*self._queue, new]
        if not self._fits(ahead[0], self.live_rows):
            return len(ahead)
        for place, each in enumerate(ahead):
            free -= each.ask.rows
            if free < 0:
                return len(ahead) - place
        return 0

    def _all(self) -> Iterator[tuple[Grid[LiveCaption], LiveCaption]]:
        for grid in self._grids.values():
            for place in grid.live:
                live = grid.places[place]
                assert live is not None, "a live place has an owner"
                yield grid, live

    def _drop(self, grid: Grid[LiveCaption], live: LiveCaption) -> None:
        grid.drop(live)
        if not grid.live:
            self._grids.pop(grid.lanes, None)
        if not self._grids:
            self.store.forget()

    def _admit(self) -> list[Event]:
        """As many of the queue, in its order, as there are rows and bytes for."""
        events: list[Event] = []
        while part := self._next_part():
            for each, memory in zip(part, self._remember([each.pixels for each in part]), strict=True):
                if isinstance(memory, Memory):
                    self._place(each, memory)
                else:
                    events.append(Event(each.id, error=memory))
        return events

    def _next_part(self) -> list[WaitingCaption]:
        """Those that pass the image tower together; one by one under a bound on bytes: each changes what is left."""
        part: list[WaitingCaption] = []
        rows, most = self.live_rows, 1 if self.store.choice.budget else _PICTURES_AT_ONCE
        while self._queue and len(part) < most and self._fits(self._queue[0], rows):
            part.append(self._queue.popleft())
            rows += part[-1].ask.rows
        return part

    def _fits(self, waiting: WaitingCaption, rows: int) -> bool:
        """What needs more bytes than are left may begin only where nothing else is live."""
        ask = waiting.ask
        if rows + ask.rows > self.most_rows:
            return False
        if not self.store.choice.budget or not self._grids:
            return True
        grid = self._grids.get(ask.rows) or Grid[LiveCaption](self.captioner, ask.rows, self.store)
        return grid.to_admit(waiting.length, ask.max_tokens) <= self.store.room(self.cache_bytes)

    def _remember(self, pictures: list[Tensor]) -> list[Memory | ClipServeError]:
        """Together; where that fails, each by itself, so that one picture is no other's error."""
        try:
            return [*self.captioner.remember(torch.stack(pictures))]
        except Exception:
            if len(pictures) > 1:
                return [memory for picture in pictures for memory in self._remember([picture])]
            log.exception("a picture can't be read by the captioner")
            return [InferenceFailed("the captioner can't read this picture; see the worker's log")]

    def _place(self, waiting: WaitingCaption, memory: Memory) -> None:
        ask, before = waiting.ask, waiting.before
        self._admitted += 1
        if before is None:
            book = self.speculation.book(self.captioner, ask, waiting.drafts) if self.speculation is not None else None
            live = LiveCaption(waiting, search_of(ask, waiting.prefix, self.captioner.ids), self._admitted, book)
            live.use.disappoints = book is not None and not book
        else:
            live = LiveCaption(waiting, before.search, self._admitted, before.book, before.said, before.use)
            waiting.before = None
        if ask.rows not in self._grids:
            self._grids[ask.rows] = Grid(self.captioner, ask.rows, self.store)
        self._grids[ask.rows].put(live, memory, ask.max_tokens, live.length)

    def _preempt_for(self, grid: Grid[LiveCaption]) -> None:
        """Until the bytes are there that a step of `grid` needs: the youngest gives up its own."""
        while self._grids.get(grid.lanes) is grid and self.live_requests > 1:
            _, lengths, leaders = self._inputs(grid)
            if grid.to_step(lengths, leaders) <= self.store.room(self.cache_bytes):
                return
            holder, youngest = max(self._all(), key=lambda each: each[1].number)
            self.counts.preempted += 1
            self.counts.tokens_again += youngest.read * holder.lanes
            self._put_back(holder, youngest)
            holder.tidy()

    def _put_back(self, grid: Grid[LiveCaption], live: LiveCaption) -> None:
        self._drop(grid, live)
        live.request.before = live
        self._queue.appendleft(live.request)

    def _inputs(self, grid: Grid[LiveCaption]) -> tuple[list[int], list[int], list[int] | None]:
        """The token that each row reads, its position, and the first row that has read the same."""
        tokens = [0] * (len(grid.places) * grid.lanes)
        lengths = [0] * len(tokens)
        leaders = list(range(len(tokens)))
        for place in grid.live:
            live = grid.places[place]
            assert live is not None, "a live place has an owner"
            first, texts = place * grid.lanes, live.search.texts()
            rows = slice(first, first + grid.lanes)
            tokens[rows] = live.next_tokens()
            lengths[rows] = [live.place] * grid.lanes
            if self.store.shares and grid.lanes > 1:
                leaders[rows] = [first + lane for lane in _first_alike(texts, live.read + 1)]
        return tokens, lengths, leaders if self.store.shares else None

    def _step(self, grid: Grid[LiveCaption]) -> list[Event]:
        grid.tidy()
        if self.store.choice.budget:
            self._preempt_for(grid)
        owners = [(place, live) for place in grid.live if (live := grid.places[place]) is not None]
        if not owners:
            return []
        if self.speculation is not None and (width := self.speculation.width(grid, [live for _, live in owners])):
            return self._speculate(self.speculation, grid, owners, width)
        try:
            logits = grid.step(*self._inputs(grid))
        except Exception:
            log.exception("a step of the captioner failed")
            return [self._fail(grid, live) for _, live in owners]
        scores = torch.split(logits, grid.lanes)  # now, since places move when a request ends
        results = [self._take(grid, live, scores[place]) for place, live in owners]
        return [event for event in results if event is not None]

    def _speculate(
        self, speculation: Speculation, grid: Grid[LiveCaption], owners: list[tuple[int, LiveCaption]], width: int
    ) -> list[Event]:
        """As `_step`, but each row may go on by several tokens."""
        before = sum(live.read for _, live in owners)
        try:
            failed = speculation.read_on(grid, owners, width)
        except Exception:
            log.exception("a pass of the captioner over drafts failed")
            return [self._fail(grid, live) for _, live in owners]
        self.tokens_total += sum(live.read for _, live in owners) - before
        ended = [self._end(grid, live) for _, live in owners if live.search.done]
        return [*(self._fail(grid, live) for live in failed), *ended]

    def _take(self, grid: Grid[LiveCaption], live: LiveCaption, own: Tensor) -> Event | None:
        """What one request makes of its rows of scores, (lanes, V)."""
        self.tokens_total += 0 if live.replaying else grid.lanes
        if not live.has_read():
            return None
        if not bool(own.isfinite().all()):
            return self._fail(grid, live)
        if not live.exact_so_far and self.speculation is not None and not self.speculation.sure(live, own):
            return None
        parents = live.search.take(own)
        if live.search.done:
            return self._end(grid, live)
        if parents is not None:
            grid.move(live, parents)
        return None

    def _end(self, grid: Grid[LiveCaption], live: LiveCaption) -> Event:
        captions = self._captions(live)
        self._drop(grid, live)
        delta = captions[0].text[len(live.said) :] if live.streams else ""
        use = None if live.book is None else live.use
        return Event(live.id, delta, captions, drafts=use)

    def _fail(self, grid: Grid[LiveCaption], live: LiveCaption) -> Event:
        self._drop(grid, live)
        return Event(live.id, error=InferenceFailed("the captioner failed on this picture; see the worker's log"))

    def _captions(self, live: LiveCaption) -> tuple[Caption, ...]:
        return tuple(
            Caption(self.captioner.text(each.ids), each.logprob, each.ids, "stop" if each.ended else "length")
            for each in live.search.found()
        )

    def _news(self) -> list[Event]:
        """Text that is new since the last call of those that stream, but for a character that is not whole yet."""
        events = []
        for _, live in self._all():
            if live.streams and live.read >= len(live.request.prefix):
                text = self.captioner.text(live.search.spoken()).rstrip("\ufffd")
                if len(text) > len(live.said):
                    events.append(Event(live.id, text[len(live.said) :]))
                    live.said = text
        return events


def _first_alike(texts: Sequence[Sequence[int]], length: int) -> list[int]:
    """For each text the first one whose first `length` ids are its own."""
    first: dict[tuple[int, ...], int] = {}
    return [first.setdefault(tuple(text[:length]), i) for i, text in enumerate(texts)]
