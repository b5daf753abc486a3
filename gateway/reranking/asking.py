"""Questions to a captioner within a budget: some pictures at a time, so that what came in time is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clip_core.errors import ClipServeError
from gateway.reranking.budget import Budget
from gateway.reranking.scorer import PictureScorer, Scores

PICTURES_AT_ONCE, _CALLS_AT_ONCE = 16, 2
Logprobs = dict[str, float]


class Asking:
    """`unreadable` are candidates whose picture has an error; `error` is the captioner's own, after which it rests."""

    def __init__(self, scorer: PictureScorer, budget: Budget) -> None:
        self._scorer, self.budget = scorer, budget
        self.unreadable: set[int] = set()
        self.error: ClipServeError | None = None
        self.pictures = 0  # that the image tower had to look at

    @property
    def stopped(self) -> bool:
        return self.error is not None or self.budget.over()

    async def ask(self, places: Sequence[int], texts: Sequence[str]) -> dict[int, Logprobs]:
        """Of each candidate that was answered in time: log P of every text."""
        found: dict[int, Logprobs] = {}
        waiting, under_way = _parts([each for each in places if each not in self.unreadable]), set[asyncio.Task[None]]()
        try:
            while (waiting or under_way) and not self.stopped:
                while waiting and len(under_way) < (1 if self.budget.tokens is not None else _CALLS_AT_ONCE):
                    under_way.add(asyncio.create_task(self._part(waiting.pop(0), texts, found)))
                left = self.budget.seconds_left()
                done, under_way = await asyncio.wait(under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in under_way:
                task.cancel()
        return found

    async def _part(self, places: Sequence[int], texts: Sequence[str], found: dict[int, Logprobs]) -> None:
        try:
            scores = await self._scorer.score(places, texts, self.budget.tokens_left())
        except ClipServeError as error:
            self.error = error
            return
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


def _parts(places: Sequence[int]) -> list[Sequence[int]]:
    """Of about the same size."""
    number = -(-len(places) // PICTURES_AT_ONCE)
    size = -(-len(places) // number) if number else 1
    return [places[first : first + size] for first in range(0, len(places), size)]
