"""Candidates in the order of log P(query | picture): one sentence, read beside each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.reranking.asking import Asking
from gateway.reranking.ordering import reordered


@dataclass
class PlainRanking:
    order: list[int]
    scores: dict[int, float]


async def rank_by_sentence(text: str, candidates: Sequence[int], asking: Asking) -> PlainRanking:
    """Those that were answered in time, on the places that they hold together."""
    found = {} if asking.stopped else await asking.ask(candidates, [text])
    scores = {candidate: logprobs[text] for candidate, logprobs in found.items()}
    return PlainRanking(reordered(list(candidates), scores), scores)
