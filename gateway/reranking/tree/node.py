"""A tree of thought: a query taken apart into claims that a captioner can weigh, each against its counterfactuals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.reranking.query.parsed_query import ParsedQuery

CLAUSE, JOINT = "clause", "joint"
KINDS = ("noun", "color", "texture", "size", "excluded", "count", "setting", "binding", "absent", "relation")
"""Of what is weighed. Above them stand clauses, and joint ones of things whose places are not said."""
LEAST, MOST = -12.0, 12.0  # of a log-odds; beyond them nothing is learned


@dataclass(frozen=True)
class Node:
    """`claims` and `against` are sentences; each side is as likely as its sentences together.

    `things` are the places that it is about, `needs` the nodes that must hold before it is worth a question.
    `readings` are those that it belongs to. A clause has nothing against it: its value is log P(claims | picture).
    """

    kind: str
    label: str
    claims: tuple[str, ...]
    against: tuple[str, ...] = ()
    parent: int | None = None
    needs: tuple[int, ...] = ()
    readings: frozenset[int] = frozenset({0})

    @property
    def texts(self) -> tuple[str, ...]:
        return (*self.claims, *self.against)

    def value(self, logprobs: Mapping[str, float]) -> float:
        """Log-odds of the claims, of a clause their log-probability. "absent" counts what is there."""
        claimed = together([logprobs[text] for text in self.claims])
        if not self.against:
            return claimed
        odds = claimed - together([logprobs[text] for text in self.against])
        return min(MOST, max(LEAST, -odds if self.kind == "absent" else odds))


@dataclass(frozen=True)
class Tree:
    """`nodes` stand after their parents; the places of `stages` are asked together."""

    query: ParsedQuery
    nodes: tuple[Node, ...]
    stages: tuple[tuple[int, ...], ...] = field(default=())

    @property
    def readings(self) -> int:
        return len(self.query.readings)


def together(logprobs: Sequence[float]) -> float:
    """log(Σ exp)"""
    most = max(logprobs)
    return most + math.log(sum(math.exp(each - most) for each in logprobs))
