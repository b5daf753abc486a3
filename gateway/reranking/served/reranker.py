"""Hits of a search → the same hits in a better order, within a budget. Where that fails, the order is the search's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clip_core.errors import ClipServeError, WorkerLost
from gateway.captions.wanted import CaptionWork
from gateway.captions.worker_call import WorkerCall
from gateway.keys.meter import Meter
from gateway.metrics import GatewayMetrics
from gateway.models.captioners import Captioners
from gateway.models.registry import RegisteredModel
from gateway.pictures.pictures import Pictures
from gateway.reranking.asking import Asking
from gateway.reranking.budget import Budget
from gateway.reranking.ordering import reordered
from gateway.reranking.plain import rank_by_sentence
from gateway.reranking.quality.gate import CaptionerQuality, QualityGate
from gateway.reranking.query.parse import parse_query
from gateway.reranking.served.hits import Candidate
from gateway.reranking.served.listwise import Listwise
from gateway.reranking.served.measuring import Measurement
from gateway.reranking.served.told import told_tree
from gateway.reranking.served.worker_scorer import WorkerScorer
from gateway.reranking.tree.growing import grow
from gateway.reranking.tree.ranking import rank_by_tree
from gateway.reranking.tree.weights import fitted_weights
from gateway.reranking.wanted import Wanted
from gateway.settings import GatewaySettings

Json = dict[str, Any]
_log = logging.getLogger("gateway.reranking")
UNPARSED = "the query was not understood as things, their attributes and relations: the order is the search's"
NO_MODEL = "no language model is configured: the order is the search's"


@dataclass
class Reranked:
    """`order` are places in the search's hits, all of them, the best first; `note` says why they are as they were."""

    order: list[int]
    note: str | None = None
    without_picture: int = 0
    scored: int = 0
    pictures: int = 0
    told: Json = field(default_factory=dict)


class Reranker:
    """Each candidate that a captioner or a language model is asked about costs its key an item."""

    def __init__(
        self,
        settings: GatewaySettings,
        captioners: Captioners,
        meter: Meter,
        pictures: Pictures,
        listwise: Listwise | None,
        metrics: GatewayMetrics,
    ) -> None:
        self._settings, self._captioners, self._meter, self._pictures = settings, captioners, meter, pictures
        self._listwise, self._metrics, self._gate = listwise, metrics, QualityGate()

    async def rerank(
        self, wanted: Wanted, text: str, model: object, collection: str, hits: Sequence[Candidate]
    ) -> tuple[list[int], Json]:
        """The order, and what to say of it. Raises RateLimited or TooLarge where the key's allowance ends."""
        budget = Budget(wanted.budget_ms, wanted.budget_tokens)
        candidates = hits[: wanted.reached()]
        done = Reranked(list(range(len(hits))))
        if candidates and not budget.over():
            await self._meter.items(len(candidates))
            done = await self._kept(wanted, text, model, collection, candidates, budget)
            done.order += range(len(candidates), len(hits))
        outcome = "reranked" if done.order != list(range(len(hits))) else "unchanged"
        self._metrics.reranks.labels(wanted.by, "left_out" if done.note else outcome).inc()
        self._metrics.rerank_seconds.labels(wanted.by).observe(budget.elapsed_ms() / 1e3)
        return done.order, _told(wanted, done, budget, len(candidates))

    async def _kept(
        self, wanted: Wanted, text: str, model: object, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """A failure is a note."""
        try:
            if wanted.by == "llm":
                return await self._by_language_model(text, collection, hits, budget)
            return await self._by_captioner(wanted, text, model, collection, hits, budget)
        except ClipServeError as error:
            return _as_it_was(hits, error.message)
        except Exception:
            _log.exception("reranking failed")
            return _as_it_was(hits, "reranking failed; the gateway's log has the details")

    async def _by_captioner(
        self, wanted: Wanted, text: str, name: object, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """Raises ClipServeError."""
        parsed = parse_query(text) if wanted.by == "tree" else None
        if wanted.by == "tree" and parsed is None:
            return _as_it_was(hits, UNPARSED)
        model = await self._model(name)
        endpoint = await self._captioners.endpoint(model)
        quality = await self._quality(model, endpoint, budget)
        if quality is None:
            return _as_it_was(hits, "the captioner is being measured, which takes longer than the budget")
        if not quality.good:
            done = _as_it_was(hits, quality.note())
            done.told = {"quality": _told_quality(quality)}
            return done
        items = {place: hit.item for place, hit in enumerate(hits)}
        call = self._call(model, endpoint)()
        asking = Asking(WorkerScorer(call, self._pictures, collection, items, quality.fingerprint), budget)
        if parsed is None:
            plain = await rank_by_sentence(text, range(len(hits)), asking)
            done = Reranked(plain.order, scored=len(plain.scores))
        else:
            tree = grow(parsed)
            similarities = {place: hit.score for place, hit in enumerate(hits)}
            ranking = await rank_by_tree(tree, similarities, asking, fitted_weights())
            done = Reranked(ranking.order, scored=len(ranking.scores))
            if wanted.explain:
                done.told["tree"] = told_tree(tree, ranking, hits)
        done.without_picture, done.pictures = len(asking.unreadable), asking.pictures
        done.told["quality"] = _told_quality(quality)
        if asking.error is not None:
            done.note = f"{asking.error.message}: the order is the best so far"
            if isinstance(asking.error, WorkerLost):  # another one may come
                self._gate.forget(_key(model, endpoint))
        return done

    async def _by_language_model(
        self, text: str, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """Raises ClipServeError."""
        if self._listwise is None:
            return _as_it_was(hits, NO_MODEL)
        asked = self._listwise.rank(text, collection, hits, budget.tokens)
        try:
            ranking = await asyncio.wait_for(asked, budget.seconds_left())
        except asyncio.TimeoutError:
            budget.spent = "ms"
            return Reranked(list(range(len(hits))))
        budget.used_tokens += ranking.tokens
        fixed = {
            place: -float(rank) for rank, place in enumerate(ranking.order) if place not in ranking.without_picture
        }
        done = Reranked(reordered(list(range(len(hits))), fixed), scored=len(hits) - ranking.left_out)
        done.without_picture = len(ranking.without_picture)
        done.told = {"invented_ids": ranking.invented, "not_named": ranking.left_out}
        return done

    async def _model(self, name: object) -> RegisteredModel:
        """Whose captioner is asked. Raises NoModel, UnknownModel."""
        models = self._captioners.models
        return models.default() if name is None or not models.several else await models.find(name)

    async def _quality(self, model: RegisteredModel, endpoint: str, budget: Budget) -> CaptionerQuality | None:
        return await self._gate.of(
            _key(model, endpoint), Measurement(model, self._call(model, endpoint)), budget.seconds_left()
        )

    def _call(self, model: RegisteredModel, endpoint: str) -> Callable[[], WorkerCall]:
        return lambda: WorkerCall(self._settings, model.torchserve, endpoint, CaptionWork(), self._metrics)


def _key(model: RegisteredModel, endpoint: str) -> str:
    return f"{model.row.name} {endpoint}"


def _as_it_was(hits: Sequence[Candidate], note: str) -> Reranked:
    return Reranked(list(range(len(hits))), note)


def _told_quality(quality: CaptionerQuality) -> Json:
    return {"captioner": round(quality.captioner, 4), "plain": round(quality.plain, 4), "good": quality.good}


def _told(wanted: Wanted, done: Reranked, budget: Budget, candidates: int) -> Json:
    return {
        "by": wanted.by,
        "applied": done.scored > 0,
        "candidates": candidates,
        "scored": done.scored,
        "without_picture": done.without_picture,
        "budget_spent": budget.spent,
        "tokens": budget.used_tokens,
        "pictures": done.pictures,
        "ms": round(budget.elapsed_ms(), 2),
        "note": done.note,
        **done.told,
    }
