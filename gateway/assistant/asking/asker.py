"""POST /v1/ask: a question → hits → an answer that cites them, by a language model or without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from clip_core.errors import ClipServeError, Conflict, UnknownItem
from gateway.assistant.asking.model_answers import ModelAnswers, ModelSaid
from gateway.assistant.asking.retrieval import Retrieval, Retrieved
from gateway.assistant.offline.evidence import Evidence
from gateway.assistant.offline.offline_answers import Answered, Looked, OfflineAnswers
from gateway.assistant.offline.questions import ParsedQuestion, parse_question
from gateway.assistant.provider.prompt import Completion
from gateway.metrics import GatewayMetrics
from gateway.pictures.originals import DIGEST
from gateway.pictures.pictures import Pictures
from gateway.schemas.asking import AskRequest
from gateway.trace import current_trace
from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]
_SHOWN_BY = (DIGEST, "caption")  # what an item's picture and its caption are known by
_PICTURE_SIZE = 768  # pixels of the longer side: what is kept of every picture
OFFLINE = "offline"


@dataclass(frozen=True)
class _Said:
    """An answer by whomever."""

    text: str
    found: bool
    cited: tuple[Looked, ...]
    by: str
    verified: frozenset[str]
    overruled: bool = False
    usage: Json = field(default_factory=lambda: {"cost_usd": 0.0})
    version: str | None = None


class Asker:
    """`models` is None where no language model is set up."""

    def __init__(
        self,
        retrieval: Retrieval,
        pictures: Pictures,
        index: IndexServiceClient,
        offline: OfflineAnswers,
        models: ModelAnswers | None,
        metrics: GatewayMetrics,
    ) -> None:
        self._retrieval, self._pictures, self._index = retrieval, pictures, index
        self._offline, self._models, self._metrics = offline, models, metrics

    async def ask(self, wanted: AskRequest) -> Json:
        """Raises what a search raises, and what a language model does."""
        answer: Json = {}
        async with aclosing(self.events(wanted)) as events:
            async for event in events:
                answer = event
        return answer

    async def events(self, wanted: AskRequest) -> AsyncGenerator[Json, None]:
        """`answer.hits`, pieces of text as `answer.delta`, and the whole `answer`. Raises as `ask` does."""
        parsed = parse_question(wanted.question)
        retrieved = await self._retrieval.run(wanted, parsed)
        yield {"object": "answer.hits", "hits": retrieved.hits}
        model = self._models if wanted.by == "auto" and retrieved.hits else None
        try:
            said = None
            async with aclosing(self._said(wanted, parsed, retrieved.evidence, model)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        yield {"object": "answer.delta", "delta": piece}
                    else:
                        said = piece
            assert said is not None
            cited = await self._still_there(said.cited)
        except ClipServeError as error:
            self._metrics.answers.labels("model" if model else OFFLINE, error.code).inc()
            raise
        self._metrics.answers.labels("model" if model else OFFLINE, "found" if said.found else "not_found").inc()
        yield _answer(wanted, parsed, retrieved, replace(said, cited=cited))

    async def _said(
        self, wanted: AskRequest, parsed: ParsedQuestion, evidence: list[Evidence], model: ModelAnswers | None
    ) -> AsyncGenerator[str | _Said, None]:
        if model is None:
            seen = await self._looked(parsed, evidence, all_pictures=False)
            known = await self._offline.answer(parsed, seen)
            yield known.text
            yield _known(known)
            return
        seen = await self._looked(parsed, evidence, all_pictures=model.options.vision)
        known = await self._offline.answer(parsed, seen)
        shown = [each.evidence if wanted.detail else _as_needed(parsed, each) for each in seen]
        plan = await model.plan(wanted.question, shown, wanted.detail)
        answer = model.answer(wanted.question, plan, seen, known, streamed=wanted.stream)
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                if isinstance(piece, ModelSaid):
                    self._count(piece.completion)
                    yield _of_model(piece, model)
                else:
                    yield piece

    async def _looked(
        self, parsed: ParsedQuestion, evidence: Sequence[Evidence], *, all_pictures: bool
    ) -> list[Looked]:
        """With pictures only where someone is to look at them."""
        seen = await self._offline.look(parsed, evidence)
        if not all_pictures and await self._offline.reader() is None:
            return seen
        wanted = [all_pictures or each.verdict == "unknown" for each in seen]
        pairs = zip(seen, wanted, strict=True)
        with_pictures = await asyncio.gather(*(self._with_picture(each.evidence, want) for each, want in pairs))
        return await self._offline.look(parsed, with_pictures)

    async def _with_picture(self, evidence: Evidence, wanted: bool) -> Evidence:
        """A picture that is not kept, or can't be read, is none."""
        if not wanted:
            return evidence
        item = {"id": evidence.id, "metadata": evidence.item_metadata}
        with suppress(ClipServeError):
            shown = await self._pictures.thumbnail(evidence.collection, item, _PICTURE_SIZE)
            return replace(evidence, picture=shown.content)
        return evidence

    async def _still_there(self, cited: tuple[Looked, ...]) -> tuple[Looked, ...]:
        """Raises Conflict where all that was cited was deleted or replaced meanwhile."""

        async def is_there(each: Looked) -> bool:
            try:
                item = await self._index.item(each.evidence.collection, each.evidence.id, {})
            except UnknownItem:
                return False
            now, then = item.get("metadata") or {}, each.evidence.item_metadata
            return all(now.get(name) == then.get(name) for name in _SHOWN_BY)

        there = await asyncio.gather(*map(is_there, cited))
        left = tuple(each for each, is_left in zip(cited, there, strict=True) if is_left)
        if cited and not left:
            raise Conflict(
                "the pictures that the answer cites were deleted or replaced meanwhile: ask again", param="collection"
            )
        return left

    def _count(self, completion: Completion) -> None:
        self._metrics.answer_tokens.labels("input").inc(completion.use.input)
        self._metrics.answer_tokens.labels("output").inc(completion.use.output)
        self._metrics.answer_usd.inc(completion.cost_usd or 0.0)


def _as_needed(parsed: ParsedQuestion, looked: Looked) -> Evidence:
    """Without the picture of a hit that is known not to show what is asked for: the answer may not cite it anyway."""
    ruled_out = looked.verdict == "no" and parsed.kind != "other"
    return replace(looked.evidence, picture=None) if ruled_out else looked.evidence


def _known(known: Answered) -> _Said:
    verified = frozenset(each.evidence.ref for each in known.cited) if known.kind != "other" else frozenset[str]()
    return _Said(known.text, known.found, known.cited, OFFLINE, verified)


def _of_model(said: ModelSaid, model: ModelAnswers) -> _Said:
    completion = said.completion
    usage = {
        "prompt_tokens": completion.use.input,
        "completion_tokens": completion.use.output,
        "cached_tokens": completion.use.cached,
        "estimated_tokens": completion.estimated.input,
        "pictures": len(said.plan.pictures),
        "cost_usd": completion.cost_usd,
    }
    by = OFFLINE if said.overruled else completion.model or model.model.name
    version = model.template.version
    return _Said(said.text, said.found, said.cited, by, said.verified, said.overruled, usage, version)


def _answer(wanted: AskRequest, parsed: ParsedQuestion, retrieved: Retrieved, said: _Said) -> Json:
    withheld = [each for evidence in retrieved.evidence for each in evidence.withheld]
    times = {"total_ms": current_trace().elapsed_ms(), "search_ms": retrieved.search_ms}
    return {
        "object": "answer",
        "question": wanted.question,
        "answer": said.text,
        "found": said.found,
        "kind": parsed.kind,
        "by": said.by,
        "llm_overruled": said.overruled,
        "citations": [_citation(each, said) for each in said.cited],
        "hits": retrieved.hits,
        "suspected_injections": [{"id": each.id, "field": each.field} for each in withheld],
        "usage": said.usage,
        "prompt_version": said.version,
        "timing": {name: round(ms, 2) for name, ms in times.items()},
    }


def _citation(looked: Looked, said: _Said) -> Json:
    evidence = looked.evidence
    return {
        "id": evidence.id,
        "collection": evidence.collection,
        "score": evidence.score,
        "caption": looked.caption,
        "verified": evidence.ref in said.verified,
    }
