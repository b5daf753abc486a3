"""Hits of a search → the same hits in a better order, within a budget. Where that fails, the order is the search's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from clip_core.errors import AssistantFailed, ClipServeError
from gateway.keys.meter import Meter
from gateway.metrics import GatewayMetrics
from gateway.reranking.budget import Budget
from gateway.reranking.ordering import reordered
from gateway.reranking.served.captioner_reranker import CaptionerReranker
from gateway.reranking.served.hits import Candidate
from gateway.reranking.served.listwise import Listwise
from gateway.reranking.served.reranked import Reranked, as_it_was
from gateway.reranking.wanted import Wanted
from gateway.trace import current_trace

Json = dict[str, Any]
_log = logging.getLogger("gateway.reranking")
NO_MODEL = "no language model is configured: the order is the search's"
TOO_FEW = "fewer than two candidates can be shown to the language model: the order is the search's"
_TO_ANSWER_S = 0.1


class Reranker:
    """Each candidate that a captioner or a language model is asked about costs its key an item."""

    def __init__(
        self,
        by_captioner: CaptionerReranker,
        listwise: Listwise | None,
        meter: Meter,
        metrics: GatewayMetrics,
        stall_timeout_s: float,
    ) -> None:
        """`listwise` is None where no language model is configured."""
        self._by_captioner, self._listwise = by_captioner, listwise
        self._meter, self._metrics, self._stall_timeout_s = meter, metrics, stall_timeout_s

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
        stalls_s, left_s = self._stall_timeout_s - trace.elapsed_ms() / 1e3, trace.seconds_left()
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
            return await self._by_captioner.rerank(wanted, text, model, collection, hits, budget)
        except asyncio.TimeoutError:
            budget.spent = "ms"
            return Reranked(list(range(len(hits))), asked=wanted.by == "llm")
        except ClipServeError as error:
            asked = wanted.by == "llm" and isinstance(error, AssistantFailed)
            return replace(as_it_was(hits, error.message), asked=asked)
        except Exception:
            _log.exception("reranking failed")
            return as_it_was(hits, "reranking failed; the gateway's log has the details")

    async def _by_language_model(
        self, text: str, collection: str, hits: Sequence[Candidate], budget: Budget
    ) -> Reranked:
        """Raises ClipServeError, or TimeoutError where the time is over."""
        if self._listwise is None:
            return as_it_was(hits, NO_MODEL)
        ranking = await budget.within(self._listwise.rank(text, collection, hits, budget.tokens))
        shown, without = ranking.named + ranking.left_out, len(ranking.without_picture)
        if budget.tokens is not None and shown + without < len(hits) > 1:
            budget.spent = "tokens"
        if not shown:
            return replace(as_it_was(hits, TOO_FEW), without_picture=without)
        budget.used_tokens += ranking.tokens
        fixed = {
            place: -float(rank) for rank, place in enumerate(ranking.order) if place not in ranking.without_picture
        }
        done = Reranked(reordered(list(range(len(hits))), fixed), scored=ranking.named)
        done.without_picture = without
        if shown + without < len(hits):
            done.note = f"{shown} of {len(hits) - without} candidates fit into the language model's prompt"
        done.told = {"hallucinated_ids": ranking.invented, "omitted_ids": ranking.left_out}
        return done


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
