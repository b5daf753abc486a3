"""The weights of a tree's kinds, fitted on queries that the benchmark never asks.

    python -m benchmarks.rerank.fit --save

By stage, a softmax over a query's 20 candidates is to say which of them show it (Adam, a little L2). What a stage has
not asked yet has no weight in it. The random tree's weights are fitted in the same way.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.rerank.arms import CANDIDATES, random_tree
from benchmarks.rerank.gallery import CAPTIONER, Gallery
from benchmarks.rerank.queries import HARD, HARDER, queries
from clip_core.captions.captioner import Captioner
from clip_core.cores import available_cores
from gateway.reranking.query.parse import parse_query
from gateway.reranking.tree.growing import grow
from gateway.reranking.tree.node import CLAUSE, JOINT, KINDS, Tree
from gateway.reranking.tree.weights import FILE, SIMILARITY, sums

SEEDS, QUERIES = (101, 202, 303), 90
RANDOM_FILE = Path(__file__).with_name("random_weights.json")
_RIDGE, _STEPS, _RATE = 2e-3, 600, 0.05
_STAGES = (
    (SIMILARITY, CLAUSE, JOINT),
    (SIMILARITY, CLAUSE, JOINT, *(kind for kind in KINDS if kind not in ("binding", "relation"))),
    (SIMILARITY, CLAUSE, JOINT, *KINDS),
)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """`features` (R, C, F): of each reading and candidate; `right` (C,) bool."""

    features: Floats
    right: NDArray[np.bool_]


NAMES = (SIMILARITY, CLAUSE, JOINT, *KINDS)


def example(tree: Tree, logprobs: Sequence[dict[str, float]], similarities: Sequence[float], right: Any) -> Example:
    rows = []
    for reading in range(tree.readings):
        row = []
        for told, similarity in zip(logprobs, similarities, strict=True):
            values = {place: node.value(told) for place, node in enumerate(tree.nodes)}
            found = sums(tree, values, reading) | {SIMILARITY: 100 * similarity}
            row.append([found.get(name, 0.0) for name in NAMES])
        rows.append(row)
    return Example(np.array(rows), np.array(right, dtype=bool))


def fit(examples: Sequence[Example]) -> list[dict[str, float]]:
    """Weights by stage. Queries that no candidate shows, or all, teach nothing."""
    features, right = stacked([each for each in examples if each.right.any() and not each.right.all()])
    stages, start = [], np.zeros(len(NAMES))
    start[NAMES.index(CLAUSE)] = 0.3
    for names in _STAGES:
        start = _descended(start, np.array([name in names for name in NAMES]), features, right)
        stages.append({name: round(float(w), 4) for name, w in zip(NAMES, start, strict=True) if w > 1e-4})
    return stages


def stacked(examples: Sequence[Example]) -> tuple[Floats, NDArray[np.bool_]]:
    """(Q, R, C, F) and (Q, C); of a query with fewer readings the last one stands again."""
    readings = max(len(each.features) for each in examples)
    padded = [
        np.concatenate([each.features, np.repeat(each.features[-1:], readings - len(each.features), axis=0)])
        for each in examples
    ]
    return np.stack(padded), np.stack([each.right for each in examples])


def _descended(start: Floats, free: NDArray[np.bool_], features: Floats, right: NDArray[np.bool_]) -> Floats:
    """Adam. No weight is negative: a claim that holds never speaks against a picture."""
    weights, mean, square = start * free, np.zeros(len(start)), np.zeros(len(start))
    for step in range(1, _STEPS + 1):
        gradient = _gradient(weights, features, right) * free
        mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
        rate = _RATE * (1 - step / _STEPS) * mean / (1 - 0.9**step)
        weights = np.maximum(0.0, weights - rate / (np.sqrt(square / (1 - 0.99**step)) + 1e-9))
    return weights


def _gradient(weights: Floats, features: Floats, right: NDArray[np.bool_]) -> Floats:
    """Of −log P(the first is right) and a little L2."""
    best = (features @ weights).argmax(axis=1)  # (Q, C): each candidate's reading
    chosen = np.take_along_axis(features, best[:, None, :, None], axis=1)[:, 0]
    scores = chosen @ weights
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    hit = (chances * right).sum(axis=1, keepdims=True) + 1e-12
    pull = chances - np.where(right, chances / hit, 0.0)
    slope: Floats = np.einsum("qc,qcf->f", pull, chosen) / len(features) + 2 * _RIDGE * weights
    return slope


def examples_of(
    captioner: Captioner, clip: DemoModel, number: int, console: Console
) -> tuple[list[Example], list[Example]]:
    """Of both galleries: by the tree, and by a random one."""
    real, random = list[Example](), list[Example]()
    for makers in (HARD, HARDER):
        for seed in SEEDS:
            known = queries(makers, number, seed)
            gallery = Gallery.drawn(known, clip, captioner)
            found, similarities = gallery.found(clip.texts([query.text for query in known]), CANDIDATES)
            trees = [grow(parsed) for query in known if (parsed := parse_query(query.text)) is not None]
            rng = Random(seed)
            for place, tree in enumerate(trees):
                right = [each in gallery.right[place] for each in found[place]]
                for kept, grown in ((real, tree), (random, random_tree(tree, trees, rng))):
                    texts = list(dict.fromkeys(text for node in grown.nodes for text in node.texts))
                    rows = captioner.score_pictures([gallery.memories[each] for each in found[place]], texts)
                    told = [dict(zip(texts, row, strict=True)) for row in rows]
                    kept.append(example(grown, told, similarities[place], right))
            console.print(f"{len(real)} queries")
    return real, random


def fitted_texts() -> frozenset[str]:
    """Queries that the weights have seen."""
    return frozenset(
        query.text for makers in (HARD, HARDER) for seed in SEEDS for query in queries(makers, QUERIES, seed)
    )


def recall(examples: Sequence[Example], weights: dict[str, float]) -> float:
    """At 1, of all candidates by one stage's weights."""
    row = np.array([weights.get(name, 0.0) for name in NAMES])
    return float(np.mean([each.right[(each.features @ row).max(axis=0).argmax()] for each in examples]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=QUERIES, help="of each of six galleries")
    parser.add_argument("--save", action="store_true", help="write the weights where reranking reads them")
    parser.add_argument("--keep", type=Path, help="write what was measured here, too")
    given, console = parser.parse_args(), Console(stderr=True)
    torch.set_num_threads(available_cores())
    real, random = examples_of(Captioner.load(CAPTIONER), DemoModel.load(), given.queries, console)
    if given.keep is not None:
        np.savez(given.keep, real=np.array(real, dtype=object), random=np.array(random, dtype=object))
    stages = fit(real)
    report = {
        "fitted_on": {"queries": len(real), "seeds": SEEDS, "captioner": CAPTIONER.name},
        "recall_at_1": [round(recall(real, weights), 4) for weights in stages],
        "stages": stages,
    }
    if given.save:
        FILE.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        RANDOM_FILE.write_text(json.dumps({"stages": fit(random)}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
