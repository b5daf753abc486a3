"""Captions for a collection's items that have none: by the language model, or by a captioner. A page at a time.

Each small batch is written before the next one is asked for, so whoever stops goes on where this ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pybase64

from clip_core.errors import (
    AssistantFailed,
    BadImage,
    BudgetSpent,
    ClipServeError,
    Conflict,
    NotFound,
    UnknownPrice,
)
from gateway.assistant.describing.picture_captions import ModelCaption, PictureCaptions
from gateway.assistant.offline.caption_reader import CaptionReader
from gateway.encode.results import is_untried
from gateway.inputs.source import Source
from gateway.keys.meter import Meter
from gateway.pictures.originals import DIGEST, ORIGINAL_FILE
from gateway.pictures.pictures import Pictures
from gateway.schemas.asking import CollectionCaptionsRequest
from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]
CAPTION, BY = "caption", "caption_by"
_SIZE = 768
_OWN = ("llm_failed", "llm_refused")  # codes that are of one item; most others end the call


class CollectionCaptions:
    """`model` is None without a language model. `at_once`: pictures under way. Each costs its key an item."""

    def __init__(
        self,
        index: IndexServiceClient,
        pictures: Pictures,
        reader: CaptionReader,
        model: PictureCaptions | None,
        meter: Meter,
        *,
        at_once: int,
    ) -> None:
        self._index, self._pictures, self._reader, self._model = index, pictures, reader, model
        self._meter = meter
        self._at_once = at_once

    async def run(self, collection: str, wanted: CollectionCaptionsRequest) -> Json:
        """One page. Raises UnknownCollection, BadInput, and what stops the first of its captions."""
        model = self._model if wanted.by == "auto" else None
        condition = None if wanted.filter is None else orjson.dumps(wanted.filter).decode()
        query = {"limit": wanted.limit, "after": wanted.after, "filter": condition}
        page = await self._index.items(collection, query)
        wanting = [item for item in page["items"] if not (item.get("metadata") or {}).get(CAPTION)]
        done = _Done(model.name if model else "captioner", len(page["items"]) - len(wanting), page["next"])
        if wanted.dry_run:
            return {**done.answer(), "estimate": _expected(model, len(wanting))}
        for start in range(0, len(wanting), self._at_once):
            part = wanting[start : start + self._at_once]
            if _is_too_much(wanted.max_cost_usd, done.cost_usd, _expected(model, len(part))["cost_usd"]):
                done.stop(_spent(wanted.max_cost_usd), wanted.after if start == 0 else wanting[start - 1]["id"])
                break
            told = await asyncio.gather(*(self._caption(collection, item, model) for item in part))
            await self._write(collection, [each for each in told if isinstance(each, dict)], done)
            failures = [(item, each) for item, each in zip(part, told, strict=True) if isinstance(each, ClipServeError)]
            done.failed += [{"id": item["id"], **each.to_dict()} for item, each in failures if _is_own(each)]
            done.cost_usd += sum(each.cost_usd for _, each in failures if isinstance(each, AssistantFailed))
            stopping = next((each for _, each in failures if not _is_own(each)), None)
            if stopping is not None:
                if not done.captions and not done.failed:
                    raise stopping
                done.stop(stopping, wanted.after if start == 0 else wanting[start - 1]["id"])
                break
        return {**done.answer(), "estimate": None}

    async def _caption(self, collection: str, item: Json, model: PictureCaptions | None) -> Json | ClipServeError:
        try:
            shown = await self._pictures.thumbnail(collection, item, _SIZE)
            if model is None:
                return _told(item, await self._reader.caption(shown.content), "captioner", 0.0)
            made = await self._paid(model, shown.content)
            return _told(item, made.text, made.by, made.cost_usd)
        except ClipServeError as error:
            return error

    async def _paid(self, model: PictureCaptions, picture: bytes) -> ModelCaption:
        """As a captioner's caption is. Raises RateLimited or TooLarge, and what `model` raises."""
        source = Source("image", pybase64.b64encode_as_string(picture), None)
        await self._meter.items(1)
        await self._meter.images([source], 1)
        try:
            return await model.caption(picture)
        except ClipServeError as error:
            if is_untried(error):
                await self._meter.give_back([source])
            raise

    async def _write(self, collection: str, captions: Sequence[Json], done: _Done) -> None:
        """Into the metadata. An item that was deleted or got another picture meanwhile is one that failed."""
        if not captions:
            return
        patches = [_patch(each) for each in captions]
        results = (await self._index.patch_items(collection, {"items": patches}, (DIGEST, ORIGINAL_FILE)))["results"]
        for each, result in zip(captions, results, strict=True):
            done.cost_usd += each["cost_usd"] or 0.0
            if result["status"] == 200:
                done.captions.append({"id": each["id"], "caption": each["caption"]})
            else:
                done.failed.append({"id": each["id"], "error": _refusal(result["error"])})


class _Done:
    """What came of a page so far."""

    def __init__(self, by: str, skipped: int, after: str | None) -> None:
        self.by, self.skipped, self.next = by, skipped, after
        self.captions: list[Json] = []
        self.failed: list[Json] = []
        self.cost_usd = 0.0
        self.stopped: Json | None = None

    def stop(self, error: ClipServeError, after: str | None) -> None:
        self.stopped, self.next = error.to_dict()["error"], after

    def answer(self) -> Json:
        told = {"by": self.by, "captions": self.captions, "skipped": self.skipped, "failed": self.failed}
        return {**told, "cost_usd": self.cost_usd, "stopped": self.stopped, "next": self.next}


def _expected(model: PictureCaptions | None, number: int) -> Json:
    """Of so many captions, at most."""
    return {"items": number, "prompt_tokens": 0, "cost_usd": 0.0} if model is None else model.expected(number)


def _is_too_much(max_cost_usd: float | None, spent: float, expected: float | None) -> bool:
    """Raises UnknownPrice where there is a limit and no price."""
    if max_cost_usd is None:
        return False
    if expected is None:
        raise UnknownPrice(
            "there is no price of this model, so `max_cost_usd` can't be kept: leave it out, or give a price"
        )
    return spent + expected > max_cost_usd


def _spent(max_cost_usd: float | None) -> BudgetSpent:
    return BudgetSpent(f"the next captions could cost more than the {max_cost_usd:g} USD of this call", retry_after=1.0)


def _told(item: Json, caption: str, by: str, cost_usd: float | None) -> Json:
    """`digest`: of the picture that was looked at, where the item has one."""
    digest = (item.get("metadata") or {}).get(DIGEST)
    return {"id": item["id"], "caption": caption, "by": by, "cost_usd": cost_usd, "digest": digest}


def _patch(told: Json) -> Json:
    """No patch changes a digest, so that with it this one fits the same picture only."""
    digest = {} if told["digest"] is None else {DIGEST: told["digest"]}
    return {"id": told["id"], "metadata": {CAPTION: told["caption"], BY: told["by"], **digest}}


def _refusal(error: Json) -> Json:
    if error.get("param") != f"metadata.{DIGEST}":
        return error
    return dict(Conflict("its picture was replaced while it was looked at: caption it again").to_dict()["error"])


def _is_own(error: ClipServeError) -> bool:
    """Whether it is of one item. A key that the provider refuses is of all of them."""
    return isinstance(error, BadImage | NotFound) or error.code in _OWN
