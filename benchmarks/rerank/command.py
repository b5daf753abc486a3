"""Reranking of searches, judged at equal cost.

    make bench-rerank

1. `orders`: two galleries of minimal distractors, 1,008 queries each, none of which the weights were fitted on. The
   hard one has scenes that the captioner knows (relations, attributes, counts), the harder one what it never saw
   (three objects, counts of two kinds, negation). Arms: plain search, prompt ensemble, one sentence for 20 candidates,
   one sentence for as many as the tree's tokens pay for, a random tree, the tree, the tree over exchanged pictures
   (blind), and what no order can beat. Differences come with a paired bootstrap over queries.
2. `ordinary`: a gallery in which scenes differ in much.
3. `poor`: captioners that are worse than the search, and whether the quality gate leaves them out.
4. `served`: a demo stack: added time, budgets, 1,000 candidates; a listwise language model where one is configured.

The last line is one JSON document with `bars`. Takes 25 minutes on two quiet cores; `--quick` a fraction of that.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.lib.reports import finish, head, judge, options, show
from benchmarks.rerank import poor, served
from benchmarks.rerank.arms import ArmJudge
from benchmarks.rerank.fit import RANDOM_FILE
from benchmarks.rerank.gallery import CAPTIONER, Gallery
from benchmarks.rerank.orders import BLOCK, JudgedArms, judge_block, judge_gallery
from benchmarks.rerank.ordinary import ordinary_queries
from benchmarks.rerank.queries import HARD, HARDER, queries
from clip_core.captions.captioner import Captioner
from clip_core.cores import available_cores
from gateway.reranking.query.parse import parse_query
from gateway.reranking.tree.growing import grow
from gateway.reranking.tree.weights import Weights, fitted_weights

PARTS = ("orders", "ordinary", "poor", "served")
SEED, ORDINARY = 20_000, 300
BARS = {
    "hard_best_recall_at_1": (0.94, "≥"),
    "harder_generative_more_recall_at_1": (0.9, "≤"),
    "harder_tree_minus_generative_more": (0.02, "≥"),
    "harder_tree_minus_generative_more_low": (0.0, "≥"),
    "poor_captioners_let_in": (0.0, "≤"),
    "demo_captioner_let_in": (1.0, "≥"),
    "added_p50_ms": (150.0, "≤"),
    "ordinary_tree_over_plain": (1.0, "≥"),
    "over_budget_p99_ms": (20.0, "≤"),
}
_REAL = ("ensemble", "generative", "generative_more", "tree")  # arms that one could use


def main() -> None:
    """Measure, print, and save when asked to."""
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--queries", type=int, default=4 * BLOCK, help="of each gallery")
    parser.add_argument("--quick", action="store_true", help="few queries: whether it runs, not what it finds")
    given, console = parser.parse_args(), Console(stderr=True)
    number = 36 if given.quick else given.queries
    torch.set_num_threads(available_cores())
    figures, told = dict[str, float](), dict[str, Any]()
    clip = DemoModel.load()
    if {"orders", "ordinary"} & set(given.parts):
        measured, told = _orders(given.parts, number, clip, console, quick=given.quick)
        figures |= measured
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work:
        if "poor" in given.parts:
            told["poor"] = poor.measure(clip, Path(work), console, early=not given.quick)
            figures |= poor.figures_of(told["poor"])
        if "served" in given.parts:
            figures |= served.measure(Path(work), 18 if given.quick else 102, console)
    show(figures, BARS, console)
    report = {**head("rerank", "make bench-rerank"), **told, "figures": figures, "bars": judge(figures, BARS)}
    finish(report, given.save)


def _orders(
    parts: list[str], number: int, clip: DemoModel, console: Console, *, quick: bool
) -> tuple[dict[str, float], dict[str, Any]]:
    captioner = Captioner.load(CAPTIONER, threads=available_cores())
    random_weights = Weights(tuple(json.loads(RANDOM_FILE.read_text(encoding="utf-8"))["stages"]))
    others = [grow(parsed) for known in queries(HARD, 60, 1) if (parsed := parse_query(known.text)) is not None]
    judge_ = ArmJudge(captioner, fitted_weights(), random_weights, others)
    figures, told = dict[str, float](), dict[str, Any]()
    if "orders" in parts:
        for name, makers in (("hard", HARD), ("harder", HARDER)):
            judged = judge_gallery(makers, number, SEED, judge_, clip, captioner, console)
            told[name] = judged.report()
            figures |= _figures(name, judged)
    if "ordinary" in parts:
        known = ordinary_queries(60 if quick else ORDINARY, SEED)
        judged = JudgedArms()
        judge_block(known, Gallery.drawn(known, clip, captioner), judge_, clip, judged, Random(SEED))
        told["ordinary"] = judged.report()
        recall = judged.recall()
        figures["ordinary_plain_recall_at_1"], figures["ordinary_tree_recall_at_1"] = recall["plain"], recall["tree"]
        figures["ordinary_tree_over_plain"] = recall["tree"] / recall["plain"]
    return figures, told


def _figures(name: str, judged: JudgedArms) -> dict[str, float]:
    recall = judged.recall()
    figures = {f"{name}_{arm}_recall_at_1": value for arm, value in recall.items()}
    figures[f"{name}_best_recall_at_1"] = max(recall[arm] for arm in _REAL)
    against = judged.against("tree", "generative_more")
    figures[f"{name}_tree_minus_generative_more"] = against["difference"]
    figures[f"{name}_tree_minus_generative_more_low"] = against["low"]
    figures[f"{name}_tree_minus_random_tree"] = judged.against("tree", "random_tree")["difference"]
    return figures
