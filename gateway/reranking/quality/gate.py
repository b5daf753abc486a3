"""Whether a captioner orders pictures better than the search that it is to correct: measured once, on canaries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass

from gateway.reranking.quality.canaries import CanaryGroup, canary_groups, share_right

Shares = Sequence[Sequence[float]]
LEAST = 0.5  # of the groups right; chance is a quarter


@dataclass(frozen=True)
class CaptionerQuality:
    """Shares of canary groups that are right: by the captioner, and by the plain search's model."""

    captioner: float
    plain: float
    fingerprint: str

    @property
    def good(self) -> bool:
        return self.captioner >= max(LEAST, self.plain)

    def note(self) -> str:
        return (
            f"the captioner orders pictures worse than the search does ({self.captioner:.2f} of the canaries right, "
            f"{self.plain:.2f} by the search; at least {LEAST:.2f}): it was left out"
        )


@dataclass(frozen=True)
class CanaryScores:
    """What each picture of each group scores, and the captioner's fingerprint."""

    captioner: Shares
    plain: Shares
    fingerprint: str


Measure = Callable[[Sequence[CanaryGroup]], Awaitable[CanaryScores]]


class QualityGate:
    """Keeps what it knows of each endpoint until it is told to forget it. One measurement at a time an endpoint."""

    def __init__(self) -> None:
        self._known: dict[str, CaptionerQuality] = {}
        self._under_way: dict[str, asyncio.Future[CaptionerQuality]] = {}

    async def of(self, endpoint: str, measure: Measure, timeout_s: float | None) -> CaptionerQuality | None:
        """None where it isn't known within the time; the measurement goes on. Raises what `measure` raises."""
        if endpoint in self._known:
            return self._known[endpoint]
        asked = self._under_way.get(endpoint)
        if asked is None:  # of no request: it outlives the one that asked first
            asked = Context().run(lambda: asyncio.ensure_future(self._measured(endpoint, measure)))
            self._under_way[endpoint] = asked
            asked.add_done_callback(lambda ended: self._ended(endpoint, ended))
        try:
            return await asyncio.wait_for(asyncio.shield(asked), timeout_s)
        except asyncio.TimeoutError:
            return None

    def forget(self, endpoint: str) -> None:
        self._known.pop(endpoint, None)

    async def _measured(self, endpoint: str, measure: Measure) -> CaptionerQuality:
        found = await measure(canary_groups())
        quality = CaptionerQuality(share_right(found.captioner), share_right(found.plain), found.fingerprint)
        self._known[endpoint] = quality
        return quality

    def _ended(self, endpoint: str, ended: asyncio.Future[CaptionerQuality]) -> None:
        self._under_way.pop(endpoint, None)
        if not ended.cancelled():
            ended.exception()  # known to those who waited, if any still did
