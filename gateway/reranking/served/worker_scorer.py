"""A model's captioner as reranking asks it: candidates' pictures from where they are kept, several in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pybase64

from clip_core.errors import ClipServeError, UnknownPicture, WorkerLost, from_dict
from gateway.captions.worker_call import WorkerCall
from gateway.pictures.pictures import Pictures
from gateway.pictures.thumbnails import SIZES
from gateway.reranking.scorer import Row, Scores
from gateway.upstream.caption_replies import ReplyPicture

Json = dict[str, Any]
_SIZE = min(SIZES)


class WorkerScorer:
    """`items` are the candidates as the index has them; `call` belongs to the request at hand.

    All answers are of one captioner: where another one answers meanwhile, the scores end.
    """

    def __init__(
        self, call: WorkerCall, pictures: Pictures, collection: str, items: Mapping[int, Json], fingerprint: str
    ) -> None:
        self._call, self._pictures, self._collection, self._items = call, pictures, collection, items
        self._fingerprint = fingerprint
        self._loaded: dict[int, str | ClipServeError] = {}

    async def score(self, places: Sequence[int], texts: Sequence[str], most_tokens: int | None) -> Scores:
        """Raises ClipServeError."""
        await asyncio.gather(*(self._load(place) for place in places if place not in self._loaded))
        loaded = [self._loaded[place] for place in places]
        sound = [each for each in loaded if isinstance(each, str)]
        if not sound:
            return Scores([each if isinstance(each, ClipServeError) else None for each in loaded])
        reply = await self._call.scores(sound, texts, most_tokens)
        if reply.get("fingerprint") != self._fingerprint:
            raise WorkerLost("the captioner was replaced by another one meanwhile")
        told = reply.get("pictures") or []
        if len(told) != len(sound):
            raise WorkerLost("the captioner's answer has not one entry a picture: its archive is older than reranking")
        rest, usage = iter(told), reply.get("usage") or {}
        rows = [each if isinstance(each, ClipServeError) else _row(next(rest), len(texts)) for each in loaded]
        return Scores(rows, usage.get("text_tokens", 0), usage.get("pictures", 0))

    async def _load(self, place: int) -> None:
        try:
            shown = await self._pictures.thumbnail(self._collection, self._items[place], _SIZE)
        except UnknownPicture as error:
            self._loaded[place] = error
        else:
            self._loaded[place] = pybase64.b64encode_as_string(shown.content)


def _row(told: ReplyPicture | None, texts: int) -> Row:
    if told is None:
        return None
    if "error" in told:
        return from_dict({"error": told["error"]}, 400)
    scores = told.get("scores") or []
    if len(scores) != texts:
        raise WorkerLost("the captioner's answer has not one score a text")
    return [float(each.get("logprob") or 0.0) for each in scores]
