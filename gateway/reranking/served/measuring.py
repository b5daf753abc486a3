"""The canaries, as a served model and its captioner score them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from clip_core.errors import ClipServeError, WorkerLost
from gateway.captions.worker_call import WorkerCall
from gateway.encode.chunks import Ask
from gateway.encode.embedding import floats
from gateway.inputs.source import Source
from gateway.models.registry import RegisteredModel
from gateway.reranking.quality.canaries import CanaryGroup, canary_groups
from gateway.reranking.quality.gate import CanaryScores

_GROUPS_AT_ONCE = 4


class Measurement:
    """`call`: a new one, for work of no caller."""

    def __init__(self, model: RegisteredModel, call: Callable[[], WorkerCall]) -> None:
        self._model, self._call = model, call

    async def __call__(self, groups: Sequence[CanaryGroup]) -> CanaryScores:
        """By both at once. Raises ClipServeError."""
        (captioner, fingerprint), plain = await asyncio.gather(self._by_captioner(groups), self._plain(groups))
        return CanaryScores(captioner, plain, fingerprint)

    async def fingerprint(self) -> str:
        """The captioner's, by one picture and one text. Raises ClipServeError."""
        group = canary_groups()[0]
        reply = await self._call().scores(group.pictures[:1], [group.text], None)
        return reply.get("fingerprint", "")

    async def _by_captioner(self, groups: Sequence[CanaryGroup]) -> tuple[list[list[float]], str]:
        """With the captioner's fingerprint."""
        call, scored, fingerprint = self._call(), list[list[float]](), ""
        for first in range(0, len(groups), _GROUPS_AT_ONCE):
            part = groups[first : first + _GROUPS_AT_ONCE]
            pictures = [picture for group in part for picture in group.pictures]
            reply = await call.scores(pictures, [group.text for group in part], None)
            rows = iter(reply.get("pictures") or [])
            told = [[(next(rows, None) or {}).get("scores") for _ in group.pictures] for group in part]
            if any(scores is None for group in told for scores in group):
                raise WorkerLost("the captioner's archive is older than reranking: build it again")
            scored += [
                [float(scores[place].get("logprob") or 0.0) for scores in group if scores]
                for place, group in enumerate(told)
            ]
            fingerprint = reply.get("fingerprint", "")
        return scored, fingerprint

    async def _plain(self, groups: Sequence[CanaryGroup]) -> list[list[float]]:
        pictures = [Source("image", picture, None) for group in groups for picture in group.pictures]
        sources = [*pictures, *(Source("text", group.text, None) for group in groups)]
        encoded = await self._model.encoder.run([Ask(source) for source in sources], charged=0)
        vectors = []
        for outcome in encoded.outcomes:
            if isinstance(outcome, ClipServeError):
                raise outcome
            vectors.append(floats(outcome["embedding"]))
        texts, rest = np.stack(vectors[len(pictures) :]), iter(vectors)
        return [[float(text @ next(rest)) for _ in group.pictures] for text, group in zip(texts, groups, strict=True)]
