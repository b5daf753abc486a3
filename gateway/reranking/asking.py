"""Questions to a captioner within a budget: some pictures at a time, so that what came in time is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from clip_core.errors import ClipServeError
from gateway.reranking.budget import Budget
from gateway.reranking.pace import CaptionerPace
from gateway.reranking.scorer import PictureScorer, Scores

PICTURES_AT_ONCE, _CALLS_AT_ONCE = 16, 2
Logprobs = dict[str, float]


class Asking:
    """`unreadable` are candidates whose picture has an error; `error` is the captioner's own, after which it rests.

    `pace` is the captioner's, from one request to the next.
    """

    def __init__(self, scorer: PictureScorer, budget: Budget, pace: CaptionerPace | None = None) -> None:
        self._scorer, self.budget, self._pace = scorer, budget, pace or CaptionerPace()
        self.unreadable: set[int] = set()
        self.error: ClipServeError | None = None
        self.pictures = 0  # that the image tower had to look at

    @property
    def stopped(self) -> bool:
        return self.error is not None or self.budget.over()

    async def ask(self, places: Sequence[int], texts: Sequence[str]) -> dict[int, Logprobs]:
        """Of each candidate that was answered in time: log P of every text."""
        found: dict[int, Logprobs] = {}
        waiting, under_way = [each for each in places if each not in self.unreadable], dict[asyncio.Task[None], int]()
        most = _even(len(waiting))
        try:
            while (waiting or under_way) and not self.stopped:
                while number := self._next(min(most, len(waiting)), [*under_way.values()]):
                    under_way[asyncio.create_task(self._part(waiting[:number], texts, found))] = number
                    del waiting[:number]
                left = self.budget.seconds_left()
                done, _ = await asyncio.wait(under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del under_way[task]
                    task.result()
        finally:
            for task in under_way:
                task.cancel()
        return found

    def _next(self, wanted: int, under_way: Sequence[int]) -> int:
        """How many pictures the next call has beside those under way; 0: it waits for them."""
        if len(under_way) >= (1 if self.budget.tokens is not None else _CALLS_AT_ONCE):
            return 0
        room = self._pace.pictures_within(self.budget.seconds_left()) - sum(under_way)
        if under_way:
            return wanted if room >= wanted else 0
        return wanted if room >= wanted else min(wanted, max(1, int(room)))

    async def _part(self, places: Sequence[int], texts: Sequence[str], found: dict[int, Logprobs]) -> None:
        started = time.perf_counter()
        try:
            scores = await self._scorer.score(places, texts, self.budget.tokens_left())
        except ClipServeError as error:
            self.error = error
            return
        except asyncio.CancelledError:
            self._pace.unanswered(len(places), time.perf_counter() - started)
            raise
        self._pace.answered(len(places), time.perf_counter() - started)
        self._note(scores)
        for place, row in zip(places, scores.rows, strict=True):
            if isinstance(row, ClipServeError):
                self.unreadable.add(place)
            elif row is None:
                self.budget.spent = "tokens"
            else:
                found[place] = dict(zip(texts, row, strict=True))

    def _note(self, scores: Scores) -> None:
        self.budget.used_tokens += scores.tokens
        self.pictures += scores.pictures


def _even(pictures: int) -> int:
    """The size of parts of about the same size."""
    return -(-pictures // max(1, -(-pictures // PICTURES_AT_ONCE)))
