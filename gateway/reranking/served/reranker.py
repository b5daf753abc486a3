"""Hits of a search → the same hits in a better order, within a budget. Where that fails, the order is the search's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clip_core.errors import AssistantFailed, ClipServeError, WorkerLost
from gateway.captions.wanted import CaptionWork
from gateway.captions.worker_call import WorkerCall
from gateway.encode.results import is_untried
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
from gateway.reranking.query.parsed_query import ParsedQuery
from gateway.reranking.served.hits import Candidate
from gateway.reranking.served.listwise import Listwise
from gateway.reranking.served.measuring import Measurement
from gateway.reranking.served.told import told_missing, told_tree
from gateway.reranking.served.worker_scorer import WorkerScorer
from gateway.reranking.tree.growing import grow
from gateway.reranking.tree.ranking import rank_by_tree
from gateway.reranking.tree.weights import fitted_weights
from gateway.reranking.wanted import Wanted
from gateway.settings import GatewaySettings
from gateway.trace import current_trace

Json = dict[str, Any]
_log = logging.getLogger("gateway.reranking")
UNPARSED = "the query was not understood as things, their attributes and relations: the order is the search's"
NO_MODEL = "no language model is configured: the order is the search's"
TOO_FEW = "fewer than two candidates can be shown to the language model: the order is the search's"
NO_PICTURE = "no candidate has a picture here: the order is the search's"
BEST, SEARCHS = "the best so far", "the search's"
_TO_ANSWER_S = 0.1


@dataclass
class Reranked:
    """`order` are places in the search's hits, all of them, the best first; `note` says why they are as they were.

    `asked`: whether anything was asked about them.
    """

    order: list[int]
    note: str | None = None
    asked: bool = True
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
        budget = Budget(self._ms(wanted), wanted.budget_tokens)
        candidates = hits[: wanted.reached()]
        done = Reranked(list(range(len(hits))))
        if candidates and not budget.over():
            await self._meter.items(len(candidates))
            done = await self._kept(wanted, text, model, collection, candidates, budget)
            if not done.asked:
                await self._meter.items_back(len(candidates))
            done.order += range(len(candidates), len(hits))
        changed = done.order != list(range(len(hits)))
        outcome = "reranked" if changed else "left_out" if done.note else "unchanged"
        self._metrics.reranks.labels(wanted.by, outcome).inc()
        self._metrics.rerank_seconds.labels(wanted.by).observe(budget.elapsed_ms() / 1e3)
        return done.order, _told(wanted, done, budget, len(candidates))

    def _ms(self, wanted: Wanted) -> float:
        """What the caller allows, and no more than the request itself has: its hits are there, and are to be told."""
        trace = current_trace()
        stalls_s, left_s = self._settings.stall_timeout_s - trace.elapsed_ms() / 1e3, trace.seconds_left()
        ends_s = stalls_s if left_s is None else min(stalls_s, left_s)
        most = max(0.0, ends_s - _TO_ANSWER_S) * 1e3
        return most if wanted.budget_ms is None else min(most, wanted.budget_ms)

    async def _kept(
        self, wanted: Wanted, text: str, model: object, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """A failure is a note."""
        try:
            if wanted.by == "llm":
                return await self._by_language_model(text, collection, hits, budget)
            return await self._by_captioner(wanted, text, model, collection, hits, budget)
        except asyncio.TimeoutError:
            budget.spent = "ms"
            return Reranked(list(range(len(hits))))
        except ClipServeError as error:
            return replace(_as_it_was(hits, error.message), asked=isinstance(error, AssistantFailed))
        except Exception:
            _log.exception("reranking failed")
            return _as_it_was(hits, "reranking failed; the gateway's log has the details")

    async def _by_captioner(
        self, wanted: Wanted, text: str, name: object, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """Raises ClipServeError, or TimeoutError where the time is over."""
        parsed = parse_query(text) if wanted.by == "tree" else None
        if wanted.by == "tree" and parsed is None:
            return _as_it_was(hits, UNPARSED)
        model, endpoint = await budget.within(self._captioner(name))
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
            done = await _by_sentence(text, hits, asking)
        else:
            done = await _by_tree(parsed, hits, asking, explain=wanted.explain)
        done.told["quality"] = _told_quality(quality)
        if isinstance(asking.error, WorkerLost):  # another one may come
            self._gate.forget(_key(model, endpoint))
        return _noted(done, asking)

    async def _by_language_model(
        self, text: str, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """Raises ClipServeError, or TimeoutError where the time is over."""
        if self._listwise is None:
            return _as_it_was(hits, NO_MODEL)
        ranking = await budget.within(self._listwise.rank(text, collection, hits, budget.tokens))
        shown, without = ranking.named + ranking.left_out, len(ranking.without_picture)
        if budget.tokens is not None and shown + without < len(hits) > 1:
            budget.spent = "tokens"
        if not shown:
            return replace(_as_it_was(hits, TOO_FEW), without_picture=without)
        budget.used_tokens += ranking.tokens
        fixed = {
            place: -float(rank) for rank, place in enumerate(ranking.order) if place not in ranking.without_picture
        }
        done = Reranked(reordered(list(range(len(hits))), fixed), scored=ranking.named)
        done.without_picture = without
        if shown + without < len(hits):
            done.note = f"{shown} of {len(hits) - without} candidates fit into the language model's prompt"
        done.told = {"invented_ids": ranking.invented, "not_named": ranking.left_out}
        return done

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


async def _by_tree(query: ParsedQuery, hits: Sequence[Candidate], asking: Asking, *, explain: bool) -> Reranked:
    tree = grow(query)
    similarities = {place: hit.score for place, hit in enumerate(hits)}
    ranking = await rank_by_tree(tree, similarities, asking, fitted_weights())
    told: Json = {"tree": told_tree(tree, ranking, hits)} if explain else {}
    if ranking.scores:
        told["missing"] = told_missing(tree, ranking)
    return Reranked(ranking.order, scored=len(ranking.scores), told=told)


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


def _as_it_was(hits: Sequence[Candidate], note: str) -> Reranked:
    return Reranked(list(range(len(hits))), note, asked=False)


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
