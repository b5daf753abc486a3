"""Whether a captioner orders pictures better than the search that it is to correct: measured once, on canaries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

from gateway.reranking.quality.canaries import CanaryGroup, canary_groups, share_right

Shares = Sequence[Sequence[float]]
LEAST = 0.5  # of the groups right; chance is a quarter
_LOOK_AGAIN_S = 5.0


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


class Measure(Protocol):
    async def __call__(self, groups: Sequence[CanaryGroup]) -> CanaryScores:
        """Raises ClipServeError."""

    async def fingerprint(self) -> str:
        """The captioner's, at little cost. Raises ClipServeError."""


class QualityGate:
    """Keeps what it knows of each endpoint until it is told to forget it. One measurement at a time an endpoint.

    Nobody asks a poor captioner, so nobody would notice that another one took its place. The gate looks itself: every
    `look_again_s` while it is asked about one, and nobody waits for that.
    """

    def __init__(self, look_again_s: float = _LOOK_AGAIN_S) -> None:
        self._look_again_s = look_again_s
        self._known: dict[str, CaptionerQuality] = {}
        self._looked: dict[str, float] = {}
        self._under_way: dict[str, asyncio.Future[CaptionerQuality]] = {}

    async def of(self, endpoint: str, measure: Measure, timeout_s: float | None) -> CaptionerQuality | None:
        """None where it isn't known within the time; the measurement goes on. Raises what `measure` raises."""
        known = self._known.get(endpoint)
        if known is not None:
            if not known.good and self._is_due(endpoint):
                self._asked(endpoint, measure)
            return known
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked(endpoint, measure)), timeout_s)
        except asyncio.TimeoutError:
            return None

    def forget(self, endpoint: str) -> None:
        self._known.pop(endpoint, None)

    def _is_due(self, endpoint: str) -> bool:
        return time.monotonic() - self._looked.get(endpoint, 0.0) >= self._look_again_s

    def _asked(self, endpoint: str, measure: Measure) -> asyncio.Future[CaptionerQuality]:
        """Of no request: it outlives the one that asked first."""
        asked = self._under_way.get(endpoint)
        if asked is None:
            asked = Context().run(lambda: asyncio.ensure_future(self._measured(endpoint, measure)))
            self._under_way[endpoint] = asked
            asked.add_done_callback(lambda ended: self._ended(endpoint, ended))
        return asked

    async def _measured(self, endpoint: str, measure: Measure) -> CaptionerQuality:
        known = self._known.get(endpoint)
        if known is not None and await measure.fingerprint() == known.fingerprint:
            return known
        found = await measure(canary_groups())
        quality = CaptionerQuality(share_right(found.captioner), share_right(found.plain), found.fingerprint)
        self._known[endpoint] = quality
        return quality

    def _ended(self, endpoint: str, ended: asyncio.Future[CaptionerQuality]) -> None:
        self._under_way.pop(endpoint, None)
        self._looked[endpoint] = time.monotonic()
        if not ended.cancelled():
            ended.exception()  # known to those who waited, if any still did
