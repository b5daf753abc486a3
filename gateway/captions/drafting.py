"""Drafts for captions: those of a picture's neighbours. Whatever goes wrong here, the caption is made without."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from clip_core.errors import (
    BadInput,
    BudgetSpent,
    ClipServeError,
    DeadlineExceeded,
    Forbidden,
    RateLimited,
    UnknownItem,
)
from gateway.captions.drafts import NO_DRAFTS, CaptionDrafts
from gateway.captions.wanted import CaptionWork, GivenPicture, StoredPicture
from gateway.fetch.url_images import Fetched
from gateway.inputs.source import Source
from gateway.keys.api_key import current_key
from gateway.trace import current_trace
from gateway.upstream.caption_replies import CaptionReply

NeighbourCaptions: TypeAlias = Callable[[Source, str, str, int], Awaitable[list[str]]]
"""A picture or an item's id, a collection, a model, how many → the captions of its neighbours, the nearest first.

Raises ClipServeError."""
_Resting: TypeAlias = tuple[str, ...]
"""A model that has no drafts, or none from a collection, or none of one caller's from it."""
_MOST_S, _MOST = 0.5, 0.25  # that a caption waits for drafts, and that share of what is left of its time
_REST_S = 2.0  # without drafts after the captioner left some alone, or after none came from a collection
_OF_ONE = (BadInput, BudgetSpent, DeadlineExceeded, Forbidden, RateLimited, UnknownItem)
"""Errors of one picture or one caller: the next one may have drafts."""
_log = logging.getLogger("gateway.captions")


class Drafting:
    """Looks for drafts once a picture."""

    def __init__(self, near: NeighbourCaptions) -> None:
        self._near = near
        self._resting: dict[_Resting, tuple[float, str]] = {}

    async def of(
        self, model: str, given: Sequence[GivenPicture], sources: Sequence[Fetched], work: CaptionWork
    ) -> list[CaptionDrafts]:
        """For each picture, in order."""
        return await asyncio.gather(*(self._one(model, *each, work) for each in zip(given, sources, strict=True)))

    def learn(self, model: str, drafts: CaptionDrafts, reply: CaptionReply) -> None:
        """The captioner left drafts alone: for a while none are looked for, or none of this origin."""
        off = (reply.get("drafts") or {}).get("off")
        if isinstance(off, str) and off != "method":
            self._rest(_of_origin(model, drafts.origin) if off == "no_gain" else (model,), off)

    async def _one(self, model: str, given: GivenPicture, source: Fetched, work: CaptionWork) -> CaptionDrafts:
        wish = work.drafts
        if not isinstance(source, Source) or wish is None:
            return NO_DRAFTS
        collection = wish.collection or (given.collection if isinstance(given, StoredPicture) else None)
        if collection is None:
            return CaptionDrafts(why="no_collection") if wish.said else NO_DRAFTS
        origin = hashlib.sha256(f"{current_key().id}\0{collection}".encode()).hexdigest()[:16]
        resting = ((model,), (model, collection), _of_origin(model, origin))
        why = "method" if not work.takes_drafts else next(filter(None, map(self._rests, resting)), "")
        if why:
            return CaptionDrafts(why=why) if wish.said or work.takes_drafts else NO_DRAFTS
        own = isinstance(given, StoredPicture) and given.collection == collection
        picture = Source("like", given.id, given.param) if own and isinstance(given, StoredPicture) else source
        texts, why, ms = await self._found(model, picture, collection, wish.k, origin)
        return CaptionDrafts(texts, why, ms, origin)

    async def _found(
        self, model: str, picture: Source, collection: str, k: int, origin: str
    ) -> tuple[list[str], str, float]:
        """Captions, why there are none, and how long it took in milliseconds."""
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
            self._rest(_of_origin(model, origin) if why == "no_captions" else (model, collection), why)
        return texts, why, (time.perf_counter() - began) * 1e3

    def _rest(self, of: _Resting, why: str) -> None:
        self._resting[of] = (time.monotonic() + _REST_S, why)
        if len(self._resting) > 1000:
            self._resting = {name: rest for name, rest in self._resting.items() if rest[0] > time.monotonic()}

    def _rests(self, of: _Resting) -> str:
        until, why = self._resting.get(of, (0.0, ""))
        return why if time.monotonic() < until else ""


def _of_origin(model: str, origin: str) -> _Resting:
    return (model, "", origin)
