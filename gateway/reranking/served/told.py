"""What an answer says of reranking: what its first hit does not fit, and the tree where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.reranking.served.hits import Candidate
from gateway.reranking.tree.node import Tree
from gateway.reranking.tree.ranking import TreeRanking

Json = dict[str, Any]


def told_tree(tree: Tree, ranking: TreeRanking, candidates: Sequence[Candidate]) -> Json:
    """Nodes in the order of the tree, and what each candidate that was asked scored in them."""
    stage_of = {node: number for number, stage in enumerate(tree.stages) for node in stage}
    nodes = [
        {
            "kind": node.kind,
            "label": node.label,
            "parent": node.parent,
            "stage": stage_of[place],
            "readings": sorted(node.readings),
            "claims": list(node.claims),
            "counterfactuals": list(node.against),
        }
        for place, node in enumerate(tree.nodes)
    ]
    rows = [
        {
            "id": candidates[each].id,
            "retrieval_rank": each + 1,
            "score": round(ranking.scores[each], 4),
            "values": [_rounded(ranking.values[each].get(node)) for node in range(len(tree.nodes))],
        }
        for each in ranking.order
        if each in ranking.scores
    ]
    return {
        "nodes": nodes,
        "readings": tree.readings,
        "stages": ranking.stages,
        "pruned": ranking.pruned,
        "candidates": rows,
    }


def told_missing(tree: Tree, ranking: TreeRanking) -> list[str]:
    """Claims, however the query is meant, whose counterfactuals are likelier of the first hit. None is no proof."""
    values = ranking.values.get(ranking.order[0], {})
    failed = [place for place, value in values.items() if tree.nodes[place].against and value < 0]
    sure = [tree.nodes[place] for place in failed if len(tree.nodes[place].readings) == tree.readings]
    return list(
        dict.fromkeys(tree.nodes[node.parent or 0].label if node.kind == "relation" else node.label for node in sure)
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
