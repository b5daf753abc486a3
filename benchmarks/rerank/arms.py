"""The ways of ordering the pictures that a plain search found, each with what it costs.

`generative_more` reads the query beside as many pictures as the tree's tokens pay for. `random_tree` has the tree's
shape and cost, and its questions are of other queries. `blind` is the tree with the candidates' pictures exchanged.
`oracle` is what no order of 20 candidates can beat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from benchmarks.rerank.gallery import Gallery
from benchmarks.rerank.in_process import InProcessScorer
from clip_core.captions.captioner import Captioner
from gateway.reranking.asking import Asking
from gateway.reranking.budget import Budget
from gateway.reranking.plain import rank_by_sentence
from gateway.reranking.query.parse import parse_query
from gateway.reranking.tree.growing import grow
from gateway.reranking.tree.node import CLAUSE, JOINT, Node, Tree
from gateway.reranking.tree.ranking import rank_by_tree
from gateway.reranking.tree.weights import Weights

ARMS = ("plain", "ensemble", "generative", "generative_more", "random_tree", "tree", "blind", "oracle")
CANDIDATES, MOST_CANDIDATES = 20, 200
TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "there is {}", "an image showing {}")


@dataclass(frozen=True)
class ArmOutcome:
    """Of one arm for one query: whether its first picture shows what was asked for, and what it cost."""

    right: bool
    tokens: int = 0
    pictures: int = 0
    texts_encoded: int = 1


@dataclass(frozen=True)
class SearchedQuery:
    """One query with the pictures that were found, the best first, and those that show it."""

    text: str
    found: list[int]
    similarities: list[float]
    right: frozenset[int]

    def is_right(self, place: int) -> bool:
        return self.found[place] in self.right


class ArmJudge:
    """`others`: trees of other queries, whose sentences a random tree asks."""

    def __init__(self, captioner: Captioner, weights: Weights, random_weights: Weights, others: Sequence[Tree]) -> None:
        self._captioner, self._weights, self._random_weights = captioner, weights, random_weights
        self._others = others

    def outcomes(self, query: SearchedQuery, gallery: Gallery, rng: Random) -> dict[str, ArmOutcome]:
        """Of all arms but the ensemble, which is a search of its own."""
        memories = [gallery.memories[place] for place in query.found]
        scorer = InProcessScorer(self._captioner, memories, {})
        parsed = parse_query(query.text)
        tree = None if parsed is None else grow(parsed)
        plain = ArmOutcome(query.is_right(0))
        by_tree = self._by_tree(query, tree, scorer, self._weights) if tree else plain
        one = max(1, scorer.tokens(query.text))
        more = min(max(CANDIDATES, by_tree.tokens // one), len(query.found))
        exchanged = rng.sample(memories[:CANDIDATES], CANDIDATES)
        blind = InProcessScorer(self._captioner, exchanged, {})
        return {
            "plain": plain,
            "generative": self._by_sentence(query, CANDIDATES, scorer),
            "generative_more": self._by_sentence(query, more, scorer),
            "random_tree": self._by_random_tree(query, tree, scorer, rng) if tree else plain,
            "tree": by_tree,
            "blind": self._by_tree(query, tree, blind, self._weights) if tree else plain,
            "oracle": ArmOutcome(any(map(query.is_right, range(CANDIDATES))), 0, 0, 1),
        }

    def _by_tree(self, query: SearchedQuery, tree: Tree, scorer: InProcessScorer, weights: Weights) -> ArmOutcome:
        similarities = dict(enumerate(query.similarities[:CANDIDATES]))
        asking = Asking(scorer, Budget())
        ranking = asyncio.run(rank_by_tree(tree, similarities, asking, weights))
        return ArmOutcome(query.is_right(ranking.order[0]), asking.budget.used_tokens, CANDIDATES)

    def _by_sentence(self, query: SearchedQuery, candidates: int, scorer: InProcessScorer) -> ArmOutcome:
        asking = Asking(scorer, Budget())
        ranking = asyncio.run(rank_by_sentence(query.text, range(candidates), asking))
        return ArmOutcome(query.is_right(ranking.order[0]), asking.budget.used_tokens, candidates)

    def _by_random_tree(self, query: SearchedQuery, tree: Tree, scorer: InProcessScorer, rng: Random) -> ArmOutcome:
        return self._by_tree(query, random_tree(tree, self._others, rng), scorer, self._random_weights)


def random_tree(tree: Tree, others: Sequence[Tree], rng: Random) -> Tree:
    """Its clauses stay; every child asks as many sentences as before, of one other query."""
    texts = [text for node in rng.choice(others).nodes for text in node.texts]

    def other(node: Node) -> Node:
        if node.kind in (CLAUSE, JOINT):
            return node
        drawn = [rng.choice(texts) for _ in node.texts]
        return replace(node, claims=tuple(drawn[: len(node.claims)]), against=tuple(drawn[len(node.claims) :]))

    return replace(tree, nodes=tuple(map(other, tree.nodes)))
