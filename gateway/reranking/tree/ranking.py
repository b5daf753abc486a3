"""Candidates in the order of a tree: clauses for all of them, what they are made of for the better ones, and so on.

Successive halving: each stage asks fewer candidates (20, 8, 4). A node whose needs do not hold for a candidate is not
asked of it, as a child of what is not there (source: Davidsonian scene graphs, Cho et al., 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.reranking.asking import Asking, Logprobs
from gateway.reranking.ordering import reordered
from gateway.reranking.tree.node import LEAST, Tree
from gateway.reranking.tree.weights import Weights

KEPT = (None, 8, 4)  # candidates of each stage; None: all
FAILED = -3.0  # log-odds below which what depends on a node is not asked


@dataclass
class TreeRanking:
    """`order` is the best so far, `stages` says how many were asked in each.

    `logprobs` of each candidate are by text, its `values` by node. `pruned` counts questions that were not asked, since
    what they depend on is not there.
    """

    order: list[int]
    values: dict[int, dict[int, float]] = field(default_factory=dict)
    logprobs: dict[int, Logprobs] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    stages: list[int] = field(default_factory=list)
    pruned: int = 0


async def rank_by_tree(
    tree: Tree,
    similarities: Mapping[int, float],
    asking: Asking,
    weights: Weights,
    kept: Sequence[int | None] = KEPT,
) -> TreeRanking:
    """`similarities`: of each candidate, in the order of the plain search."""
    ranking = TreeRanking(list(similarities))
    pool = [*similarities]
    for number, stage in enumerate(tree.stages):
        if number:
            pool = [each for each in ranking.order if each in ranking.scores][: kept[min(number, len(kept) - 1)]]
        if not pool or asking.stopped:
            break
        answered = await _stage(tree, stage, pool, asking, ranking)
        ranking.stages.append(len(answered))
        fresh = {
            each: weights.score(tree, number, ranking.values[each], similarities[each])
            for each in pool
            if each in answered
        }
        ranking.scores.update(fresh)
        ranking.order = reordered(ranking.order, fresh)
    return ranking


async def _stage(
    tree: Tree, stage: Sequence[int], pool: Sequence[int], asking: Asking, ranking: TreeRanking
) -> set[int]:
    """Asks those of the pool what the stage holds; → who was answered."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for candidate in pool:
        worth = tuple(node for node in stage if _holds(tree, node, ranking.values.get(candidate, {})))
        groups.setdefault(worth, []).append(candidate)
    answered: set[int] = set()
    for nodes, candidates in groups.items():
        ranking.pruned += (len(stage) - len(nodes)) * len(candidates)
        wanted = dict.fromkeys(text for node in nodes for text in tree.nodes[node].texts)
        known = [ranking.logprobs.setdefault(each, {}) for each in candidates]
        texts = [text for text in wanted if any(text not in each for each in known)]
        found = await asking.ask(candidates, texts) if texts else {each: {} for each in candidates}
        for candidate, more in found.items():
            logprobs = ranking.logprobs[candidate]
            logprobs |= more
            own = ranking.values.setdefault(candidate, {})
            own |= {node: tree.nodes[node].value(logprobs) for node in nodes}
            own |= {node: LEAST for node in stage if node not in nodes}
        answered |= found.keys()
    return answered


def _holds(tree: Tree, node: int, values: Mapping[int, float]) -> bool:
    return all(values.get(need, 0.0) > FAILED for need in tree.nodes[node].needs)
