"""A search: what is asked, where it goes (TorchServe, or the index for the caller's own vector), what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from clip_core.errors import (
    BadInput,
    ClipServeError,
    FingerprintMismatch,
    IndexUnavailable,
    InvalidRequest,
    from_dict,
)
from clip_core.wire import SearchPart
from gateway.encode.chunks import Ask
from gateway.encode.encoder import Encoder
from gateway.encode.served_model import ServedModel, check_model
from gateway.inputs.paging import FIELDS, Page, without_fields
from gateway.inputs.parser import InputParser
from gateway.inputs.source import KINDS
from gateway.keys.api_key import current_key
from gateway.keys.meter import Meter
from gateway.search.index_wait import IndexWait
from gateway.search.more_like_this import MoreLikeThis
from gateway.search.routing import Routed, SearchRouter
from gateway.trace import current_trace
from gateway.upstream.answer_bytes import AnswerBudget, answer_bytes
from gateway.upstream.index_service import IndexServiceClient
from gateway.upstream.replies import ReplyEntry, stage_times

Json = dict[str, Any]
Outcome = Json | ClipServeError  # of a search
_GROUP_BYTES = 8 * 1024 * 1024  # of the answer of one index call; a quarter of what the index answers at most
_FIELDS = {*KINDS, *FIELDS, "collection", "k", "filter", "include", "exact", "consistency", "model", "rerank"}


@dataclass
class Found:
    """Answers in the order of the asks; the times are those of the slowest of what ran side by side."""

    answers: list[Outcome]
    encode_ms: float = 0.0
    search_ms: float = 0.0
    queue_ms: float = 0.0

    def timing(self) -> Json:
        """For the body; the same stages go into the Server-Timing header."""
        trace = current_trace()
        trace.stages.update(queue=self.queue_ms, encode=self.encode_ms, search=self.search_ms)
        times = {
            "total_ms": trace.elapsed_ms(),
            "encode_ms": self.encode_ms,
            "search_ms": self.search_ms,
        }
        return {name: round(ms, 3) for name, ms in times.items()}


def parse_ask(body: object, parser: InputParser, at: str = "") -> Ask:
    """One search request. Raises BadInput that names the field, below `at`, or CollectionForbidden."""
    if not isinstance(body, Mapping):
        raise InvalidRequest("a search is an object", param=at or None)
    if not _FIELDS.issuperset(body):
        unknown = next(name for name in body if name not in _FIELDS)
        raise InvalidRequest(f"a search has no field {unknown[:64]!r}", param=_below(at, unknown))
    if body.get("rerank") is not None:
        raise InvalidRequest("only /v1/search reranks, one search at a time", param=_below(at, "rerank"))
    source = parser.source(body, at)
    try:
        search = SearchPart.parse(without_fields(body))
        page = Page.parse(body, search, source)
    except BadInput as error:
        error.param = _below(at, error.param or "")
        raise
    current_key().check_collection(search.collection)
    return Ask(source, msgspec.structs.replace(search, k=page.depth), body.get("model"), page)


class Searcher:
    """Runs searches. A text or an image is one hop: TorchServe's handler asks the index itself."""

    def __init__(
        self, router: SearchRouter, index: IndexServiceClient, meter: Meter, max_answer_bytes: int, wait: IndexWait
    ) -> None:
        """`max_answer_bytes` bounds what the index answers to one call; `wait` is for an index that is away."""
        self._max_answer_bytes = max_answer_bytes
        self._wait = wait
        self._router = router
        self._index = index
        self._meter = meter
        self._more_like_this = MoreLikeThis(index)

    async def one(self, ask: Ask) -> tuple[Json, Found]:
        """Raises whatever went wrong with it."""
        found = await self.many([ask])
        answer = found.answers[0]
        if isinstance(answer, ClipServeError):
            raise answer
        return answer, found

    async def many(self, asks: Sequence[Ask]) -> Found:
        """Each ask has its own answer or error, cut to its page. Raises Overloaded or RateLimited before any work."""
        routed = await self._router.routed(asks)
        sound = [each for each in routed if isinstance(each, Routed)]
        for encoder, places in _by_encoder(sound).items():
            encoder.check([sound[place].ask for place in places])
        charged = sum(each.ask.source.parts() for each in sound)
        await self._meter.items(charged)
        found = await self._answered(routed, charged)
        away = [place for place, answer in enumerate(found.answers) if isinstance(answer, IndexUnavailable)]
        if away and await self._wait.back():
            again = await self._answered(await self._router.routed([asks[place] for place in away]), charged)
            for place, answer in zip(away, again.answers, strict=True):
                found.answers[place] = answer
        return found

    async def uncharged(self, ask: Ask) -> Outcome:
        """One search for the gateway's own use, tried once: it costs the key nothing."""
        routed = await self._router.routed([ask])
        for each in routed:
            if isinstance(each, Routed) and each.encoder is not None:
                each.encoder.check([ask])
        return (await self._answered(routed, 0)).answers[0]

    async def _answered(self, routed: Sequence[Routed | ClipServeError], charged: int) -> Found:
        found = await self._resolved([each for each in routed if isinstance(each, Routed)], charged)
        rest = iter(found.answers)
        return replace(found, answers=[next(rest) if isinstance(each, Routed) else each for each in routed])

    async def _resolved(self, routed: Sequence[Routed], charged: int) -> Found:
        """`charged`: how many items the key has paid for the call."""
        ready = await self._more_like_this.resolved([each.ask for each in routed])
        good = [
            replace(each, ask=ask)
            for each, ask in zip(routed, ready, strict=True)
            if not isinstance(ask, ClipServeError)
        ]
        found = await self._ranked(good, charged) if good else Found([])
        rest = iter(found.answers)
        answers = [ask if isinstance(ask, ClipServeError) else _paged(ask, next(rest)) for ask in ready]
        return replace(found, answers=answers)

    async def _ranked(self, routed: Sequence[Routed], charged: int) -> Found:
        """By vector in few index calls, beside that each model's own."""
        own = [place for place, each in enumerate(routed) if each.encoder is None]
        groups = [*_by_encoder(routed).values(), *([own] if own else [])]
        if len(groups) == 1:
            return await self._part(routed, charged)
        asked = [[routed[place] for place in group] for group in groups]
        parts = await asyncio.gather(*map(self._part, asked, _shares(asked, charged)))
        return _merged(groups, parts)

    async def _part(self, routed: Sequence[Routed], charged: int) -> Found:
        """Of one model, or of vectors."""
        encoder = routed[0].encoder
        if encoder is None:
            return await self._by_vector([each.ask for each in routed])
        found = await self._by_model(encoder, [each.ask for each in routed], charged)
        refused = [place for place, answer in enumerate(found.answers) if isinstance(answer, FingerprintMismatch)]
        for place in refused:
            found.answers[place] = await self._again(routed[place], found.answers[place], charged)
        return found

    async def _again(self, routed: Routed, refused: Outcome, charged: int) -> Outcome:
        """Once more, if the collection is of another model by now."""
        assert isinstance(refused, FingerprintMismatch)
        other = await self._router.again(routed, refused)
        if isinstance(other, ClipServeError):
            return other
        assert other.encoder is not None
        return (await self._by_model(other.encoder, [other.ask], charged)).answers[0]

    async def _by_model(self, encoder: Encoder, asks: Sequence[Ask], charged: int) -> Found:
        encoded = await encoder.run(asks, charged=charged)
        answers: list[Outcome] = []
        for ask, outcome in zip(asks, encoded.outcomes, strict=True):
            if isinstance(outcome, ClipServeError):
                answers.append(outcome)
            else:
                served = encoded.model()
                answer = _answer(ask, outcome["hits"], served, served.fingerprint)
                answers.append(_checked(ask, served) or _certified(_noted(answer, outcome), outcome))
        return Found(answers, encoded.encode_ms, encoded.search_ms, encoded.queue_ms)

    async def _by_vector(self, asks: Sequence[Ask]) -> Found:
        """As few index calls as their answers allow, one after the other."""
        budget = AnswerBudget(self._max_answer_bytes)
        found = Found([])
        for group in self._groups(asks):
            refused = budget.refusal()
            part = Found([refused] * len(group)) if refused else await self._asked(group, budget)
            found = Found([*found.answers, *part.answers], 0.0, found.search_ms + part.search_ms)
        return found

    def _groups(self, asks: Sequence[Ask]) -> Iterator[list[Ask]]:
        dim, group, size = self._router.models.largest_dim(), list[Ask](), 0
        for ask in asks:
            assert ask.search is not None
            more = answer_bytes(ask.search, dim)
            if group and size + more > _GROUP_BYTES:
                yield group
                group, size = [], 0
            group.append(ask)
            size += more
        yield group

    async def _asked(self, asks: Sequence[Ask], budget: AnswerBudget) -> Found:
        try:
            reply = await self._index.search([_index_search(ask) for ask in asks])
        except ClipServeError as error:
            return Found([error] * len(asks))
        budget.add(reply)
        answers = [self._own_answer(ask, result) for ask, result in zip(asks, reply["results"], strict=True)]
        return Found(answers, *stage_times(reply))

    def _own_answer(self, ask: Ask, result: ReplyEntry) -> Outcome:
        if result["status"] != 200:
            error = from_dict(result, result["status"])
            error.param = ask.source.param if error.code == "invalid_vector" else error.param
            return error
        fingerprint = result.get("fingerprint")
        known = self._router.models.answering(fingerprint)
        misnamed = self._router.misnamed(ask, known) if known is not None else None
        return misnamed or _certified(_answer(ask, result["hits"], known, fingerprint), result)


def _index_search(ask: Ask) -> Json:
    assert ask.search is not None
    return {**ask.search.to_dict(), "vector": ask.source.value, "request_id": current_trace().request_id}


def _by_encoder(routed: Sequence[Routed]) -> dict[Encoder, list[int]]:
    """The places of the searches of each model."""
    places: dict[Encoder, list[int]] = {}
    for place, each in enumerate(routed):
        if each.encoder is not None:
            places.setdefault(each.encoder, []).append(place)
    return places


def _shares(asked: Sequence[Sequence[Routed]], charged: int) -> list[int]:
    """Of what the key has paid: a model whose pictures are refused gives its share back, and all of them no more than
    was paid. What is of no model counts with the first.
    """
    models = [group for group in asked if group[0].encoder is not None]
    rest = [sum(each.ask.source.parts() for each in group) if charged else 0 for group in models[1:]]
    return [charged - sum(rest), *rest, *[0] * (len(asked) - len(models))]


def _checked(ask: Ask, served: ServedModel) -> ClipServeError | None:
    """The error where another model answered than the one that the caller names: it was swapped."""
    try:
        check_model(ask.model, served)
    except ClipServeError as error:
        return error
    return None


def _answer(ask: Ask, hits: Sequence[msgspec.Raw], served: ServedModel | None, fingerprint: str | None) -> Json:
    assert ask.search is not None
    model = served.model if served else None
    return {"collection": ask.search.collection, "hits": hits, "model": model, "fingerprint": fingerprint}


def _paged(ask: Ask, answer: Outcome) -> Outcome:
    if isinstance(answer, ClipServeError) or ask.page is None:
        return answer
    hits, cursor = ask.page.cut(answer["hits"])
    return {**answer, "hits": hits, "next_cursor": cursor}


def _noted(answer: Json, entry: ReplyEntry) -> Json:
    """`truncated` when the text was longer than the model reads and its end was cut off."""
    return {**answer, "truncated": True} if entry.get("truncated") else answer


def _certified(answer: Json, result: ReplyEntry) -> Json:
    return {**answer, "certificate": result["certificate"]} if "certificate" in result else answer


def _merged(groups: Sequence[Sequence[int]], parts: Sequence[Found]) -> Found:
    """`groups` are the places of the answers of `parts`, which ran side by side."""
    places = [place for group in groups for place in group]
    placed = dict(zip(places, (answer for part in parts for answer in part.answers), strict=True))
    return Found(
        [placed[place] for place in range(len(places))],
        max(part.encode_ms for part in parts),
        max(part.search_ms for part in parts),
        max(part.queue_ms for part in parts),
    )


def _below(at: str, name: str) -> str | None:
    return f"{at}.{name}" if at and name else (at or name or None)
