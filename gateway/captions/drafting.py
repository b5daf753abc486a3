"""Drafts for captions: those of a picture's neighbours. Whatever goes wrong here, the caption is made without."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from clip_core.errors import (
    BadInput,
    BudgetSpent,
    ClipServeError,
    DeadlineExceeded,
    Forbidden,
    RateLimited,
    UnknownItem,
)
from gateway.captions.wanted import CaptionWork, GivenPicture, StoredPicture
from gateway.fetch.url_images import Fetched
from gateway.inputs.source import Source
from gateway.trace import current_trace
from gateway.upstream.caption_replies import CaptionReply

NeighbourCaptions: TypeAlias = Callable[[Source, str, str, int], Awaitable[list[str]]]
"""A picture or an item's id, a collection, a model, how many → the captions of its neighbours, the nearest first.

Raises ClipServeError."""
_Resting: TypeAlias = tuple[str, str | None]
"""A model, and the collection that it has no drafts from; None: from none."""
USED = "used"
_MOST_S, _MOST = 0.5, 0.25  # that a caption waits for drafts, and that share of what is left of its time
_REST_S = 2.0  # without drafts after the captioner left some alone, or after none came from a collection
_OF_ONE = (BadInput, BudgetSpent, DeadlineExceeded, Forbidden, RateLimited, UnknownItem)
"""Errors of one picture or one caller: the next one may have drafts."""
_log = logging.getLogger("gateway.captions")


@dataclass(frozen=True)
class CaptionDrafts:
    """`why`: "" where there are some, else why there are none; None where none were wanted."""

    texts: Sequence[str] = ()
    why: str | None = None
    ms: float = 0.0


NO_DRAFTS = CaptionDrafts()


class Drafting:
    """Looks for drafts once a picture."""

    def __init__(self, near: NeighbourCaptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._near, self._clock = near, clock
        self._resting: dict[_Resting, tuple[float, str]] = {}

    async def of(
        self, model: str, given: Sequence[GivenPicture], sources: Sequence[Fetched], work: CaptionWork
    ) -> list[CaptionDrafts]:
        """For each picture, in order."""
        return await asyncio.gather(*(self._one(model, *each, work) for each in zip(given, sources, strict=True)))

    def learn(self, model: str, reply: CaptionReply) -> None:
        """The captioner left drafts alone: for a while none are looked for."""
        off = (reply.get("drafts") or {}).get("off")
        if isinstance(off, str) and off != "method":
            self._rest((model, None), off)

    async def _one(self, model: str, given: GivenPicture, source: Fetched, work: CaptionWork) -> CaptionDrafts:
        wish = work.drafts
        if not isinstance(source, Source) or wish is None:
            return NO_DRAFTS
        collection = wish.collection or (given.collection if isinstance(given, StoredPicture) else None)
        if collection is None:
            return NO_DRAFTS
        why = "method" if not work.takes_drafts else self._rests((model, None)) or self._rests((model, collection))
        if why:
            return CaptionDrafts(why=why) if wish.said or work.takes_drafts else NO_DRAFTS
        own = isinstance(given, StoredPicture) and given.collection == collection
        picture = Source("like", given.id, given.param) if own and isinstance(given, StoredPicture) else source
        return await self._found(model, picture, collection, wish.k)

    async def _found(self, model: str, picture: Source, collection: str, k: int) -> CaptionDrafts:
        began, texts, why, shared = time.perf_counter(), list[str](), "", True
        left = current_trace().seconds_left()
        limit = _MOST_S if left is None else min(_MOST_S, _MOST * left)
        try:
            texts = await asyncio.wait_for(self._near(picture, collection, model, k), limit)
            why, shared = "" if texts else "no_captions", picture.kind != "like"  # by an item's vector it costs little
        except asyncio.TimeoutError:
            why, shared = "timeout", limit == _MOST_S
        except ClipServeError as error:
            why, shared = error.code, not isinstance(error, _OF_ONE)
        except Exception:
            _log.exception("drafts can't be looked for")
            why = "internal_error"
        if why and shared:
            self._rest((model, collection), why)
        return CaptionDrafts(texts, why, (time.perf_counter() - began) * 1e3)

    def _rest(self, of: _Resting, why: str) -> None:
        self._resting[of] = (self._clock() + _REST_S, why)
        if len(self._resting) > 1000:
            self._resting = {name: rest for name, rest in self._resting.items() if rest[0] > self._clock()}

    def _rests(self, of: _Resting) -> str:
        until, why = self._resting.get(of, (0.0, ""))
        return why if self._clock() < until else ""


def usage_of(replies: Iterable[CaptionReply]) -> dict[str, int]:
    """Tokens that were drafted, and those of them that became text; nothing where nothing was drafted."""
    counted: list[Mapping[str, Any]] = [each for reply in replies if "passes" in (each := reply.get("drafts") or {})]
    if not counted:
        return {}
    return {
        "drafted_tokens": sum(each.get("drafted", 0) for each in counted),
        "accepted_tokens": sum(each.get("accepted", 0) for each in counted),
    }


def told_of(drafts: CaptionDrafts, reply: CaptionReply) -> str | None:
    """What `timing` says of one picture's drafts."""
    if drafts.why is None or drafts.why:
        return drafts.why
    off = (reply.get("drafts") or {}).get("off")
    return off if isinstance(off, str) else USED
