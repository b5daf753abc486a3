"""Hits in the order of a captioner, by one sentence or by a tree, where the captioner is a good one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from clip_core.errors import ClipServeError, WorkerLost
from gateway.captions.wanted import CaptionWork
from gateway.captions.worker_call import WorkerCall
from gateway.encode.results import is_untried
from gateway.metrics import GatewayMetrics
from gateway.models.captioners import Captioners
from gateway.models.registry import RegisteredModel
from gateway.pictures.pictures import Pictures
from gateway.reranking.asking import Asking
from gateway.reranking.budget import Budget
from gateway.reranking.pace import CaptionerPace
from gateway.reranking.plain import rank_by_sentence
from gateway.reranking.quality.gate import CaptionerQuality, QualityGate
from gateway.reranking.query.parse import parse_query
from gateway.reranking.query.parsed_query import ParsedQuery
from gateway.reranking.served.hits import Candidate
from gateway.reranking.served.measuring import Measurement
from gateway.reranking.served.model_parser import ModelParser
from gateway.reranking.served.reranked import Reranked, as_it_was
from gateway.reranking.served.told import told_missing, told_tree
from gateway.reranking.served.worker_scorer import WorkerScorer
from gateway.reranking.tree.growing import grow
from gateway.reranking.tree.ranking import rank_by_tree
from gateway.reranking.tree.weights import fitted_weights
from gateway.reranking.wanted import Wanted
from gateway.settings import GatewaySettings

Json = dict[str, Any]
UNPARSED = "the query was not understood as things, their attributes and relations: the order is the search's"
MEASURING = "the captioner is being measured, which takes longer than the budget"
NO_PICTURE = "no candidate has a picture here: the order is the search's"
BEST, SEARCHS = "the best so far", "the search's"


class CaptionerReranker:
    """`parser` takes apart what the rules don't understand, where a language model is configured."""

    def __init__(
        self,
        settings: GatewaySettings,
        captioners: Captioners,
        pictures: Pictures,
        parser: ModelParser | None,
        metrics: GatewayMetrics,
    ) -> None:
        self._settings, self._captioners, self._pictures = settings, captioners, pictures
        self._parser, self._metrics, self._gate = parser, metrics, QualityGate()
        self._paces: dict[str, CaptionerPace] = {}

    async def rerank(
        self, wanted: Wanted, text: str, name: object, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """By the captioner of the model `name`. Raises ClipServeError, or TimeoutError, before anything is asked."""
        query = parse_query(text) if wanted.by == "tree" else None
        if wanted.by == "tree" and query is None and self._parser is None:
            return as_it_was(hits, UNPARSED)
        model, endpoint = await budget.within(self._captioner(name))
        began_ms = budget.elapsed_ms()
        quality = await self._quality(model, endpoint, budget)
        if quality is None:
            return as_it_was(hits, MEASURING)
        told = {"quality": _told_quality(quality, budget.elapsed_ms() - began_ms)}
        if not quality.good:
            return replace(as_it_was(hits, quality.note()), told=told)
        items = {place: hit.item for place, hit in enumerate(hits)}
        call = self._call(model, endpoint)()
        scorer = WorkerScorer(call, self._pictures, collection, items, quality.fingerprint)
        asking = Asking(scorer, budget, self._paces.setdefault(_key(model, endpoint), CaptionerPace()))
        if wanted.by == "tree":
            done = await self._by_tree(query, text, hits, asking, explain=wanted.explain)
        else:
            done = await _by_sentence(text, hits, asking)
        done.told |= told
        if isinstance(asking.error, WorkerLost):  # another one may come
            self._gate.forget(_key(model, endpoint))
        return _noted(done, asking)

    async def _by_tree(
        self, query: ParsedQuery | None, text: str, hits: Sequence[Candidate], asking: Asking, *, explain: bool
    ) -> Reranked:
        """`query` is what the rules understand. Raises as ModelParser does."""
        query, parsed_by = await self._parsed(query, text, asking.budget)
        if query is None:
            return as_it_was(hits, UNPARSED)
        tree = grow(query)
        similarities = {place: hit.score for place, hit in enumerate(hits)}
        ranking = await rank_by_tree(tree, similarities, asking, fitted_weights())
        told: Json = {"parsed_by": parsed_by}
        if explain:
            told["tree"] = told_tree(tree, ranking, hits)
        if ranking.scores:
            told["missing"] = told_missing(tree, ranking)
        return Reranked(ranking.order, scored=len(ranking.scores), told=told)

    async def _parsed(self, query: ParsedQuery | None, text: str, budget: Budget) -> tuple[ParsedQuery | None, str]:
        """By a language model where the rules are not sure, and who did it. Raises as ModelParser does."""
        if self._parser is None or not (query is None or query.is_doubtful):
            return query, "rules"
        if not self._parser.fits(text, budget):
            if query is None:
                budget.spent = "tokens"
            return query, "rules"
        try:
            by_model = await self._parser.parse(text, budget)
        except ClipServeError:
            if query is None:
                raise
            by_model = None
        return (query, "rules") if by_model is None else (by_model, "llm")

    async def _captioner(self, name: object) -> tuple[RegisteredModel, str]:
        """The model whose captioner is asked, and its endpoint. Raises NoModel, UnknownModel, NoCaptioner."""
        models = self._captioners.models
        model = models.default() if name is None or not models.several else await models.find(name)
        return model, await self._captioners.endpoint(model)

    async def _quality(self, model: RegisteredModel, endpoint: str, budget: Budget) -> CaptionerQuality | None:
        return await self._gate.of(
            _key(model, endpoint), Measurement(model, self._call(model, endpoint)), budget.seconds_left()
        )

    def _call(self, model: RegisteredModel, endpoint: str) -> Callable[[], WorkerCall]:
        return lambda: WorkerCall(self._settings, model.torchserve, endpoint, CaptionWork(), self._metrics)


async def _by_sentence(text: str, hits: Sequence[Candidate], asking: Asking) -> Reranked:
    plain = await rank_by_sentence(text, range(len(hits)), asking)
    return Reranked(plain.order, scored=len(plain.scores))


def _noted(done: Reranked, asking: Asking) -> Reranked:
    """With what its answers were."""
    done.without_picture, done.pictures = len(asking.unreadable), asking.pictures
    if done.without_picture == len(done.order):
        done.note, done.asked = NO_PICTURE, False
    if asking.error is not None:
        done.note = f"{asking.error.message}: the order is {BEST if done.scored else SEARCHS}"
        done.asked = done.scored > 0 or not is_untried(asking.error)
    return done


def _key(model: RegisteredModel, endpoint: str) -> str:
    """Of what is compared: the captioner, and the model of the search."""
    served = model.encoder.served
    return f"{model.row.name} {endpoint} {served.fingerprint if served is not None else ''}"


def _told_quality(quality: CaptionerQuality, waited_ms: float) -> Json:
    shares = {"captioner": round(quality.captioner, 4), "retrieval": round(quality.plain, 4)}
    return {**shares, "good": quality.good, "waited_ms": round(waited_ms, 2)}
