"""How much each kind of node counts, stage by stage: fitted on queries that no benchmark asks (weights.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gateway.reranking.tree.node import Tree

SIMILARITY = "similarity"  # in hundredths
FILE = Path(__file__).with_name("weights.json")


@dataclass(frozen=True)
class Weights:
    """By stage, what one unit of each kind's sum adds; `similarity` is of a hundredth of the cosine."""

    stages: tuple[Mapping[str, float], ...]

    def score(self, tree: Tree, stage: int, values: Mapping[int, float], similarity: float) -> float:
        """Of one candidate, in the best of the query's readings; `values` of nodes that were asked."""
        weights = self.stages[min(stage, len(self.stages) - 1)]
        readings = [
            sum(
                weights.get(tree.nodes[node].kind, 0.0) * value
                for node, value in values.items()
                if reading in tree.nodes[node].readings
            )
            for reading in range(tree.readings)
        ]
        return weights.get(SIMILARITY, 0.0) * 100 * similarity + max(readings)


@cache
def fitted_weights() -> Weights:
    told = json.loads(FILE.read_text(encoding="utf-8"))
    return Weights(tuple(told["stages"]))


def sums(tree: Tree, values: Mapping[int, float], reading: int) -> dict[str, float]:
    """By kind, over the nodes of one reading."""
    found: dict[str, float] = {}
    for place, value in values.items():
        node = tree.nodes[place]
        if reading in node.readings:
            found[node.kind] = found.get(node.kind, 0.0) + value
    return found


def kinds(trees: Sequence[Tree]) -> list[str]:
    return sorted({node.kind for tree in trees for node in tree.nodes})
