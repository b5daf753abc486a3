"""The tables and the plot of docs/reranking.md from the committed results.

python -m benchmarks.rerank.page
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.lib.markdown import between, measured, table
from benchmarks.lib.reports import DOCS, RESULTS
from benchmarks.rerank.command import BARS

PAGE, RESULT = DOCS / "reranking.md", RESULTS / "rerank.json"
_BEGIN, _END = "<!-- rerank: written by `python -m benchmarks.rerank.page` -->", "<!-- end of rerank -->"
_ARMS = {
    "plain": "plain search",
    "ensemble": "prompt ensemble, 5 templates",
    "generative": "`captioner`, 20 candidates",
    "generative_more": "`captioner`, as many candidates as the tree's tokens pay for",
    "random_tree": "a random tree of the same cost",
    "tree": "`tree`",
    "blind": "`tree`, pictures exchanged (control)",
    "oracle": "the best order of 20 candidates",
}
_LABELS = {
    "hard_best_recall_at_1": "recall@1 on the hard gallery, best arm",
    "harder_generative_more_recall_at_1": "recall@1 of `captioner` at the tree's cost on the harder gallery",
    "harder_tree_minus_generative_more": "tree − `captioner` at equal tokens, harder gallery",
    "harder_tree_minus_generative_more_low": "its 95 % interval, lower end",
    "poor_captioners_let_in": "poor captioners that the gate lets in",
    "demo_captioner_let_in": "the demo's captioner let in",
    "added_p50_ms": "tree of 20 candidates: added p50, ms",
    "ordinary_tree_over_plain": "recall@1 on an ordinary gallery, tree ÷ plain",
    "over_budget_p99_ms": "time over `budget_ms`, p99, ms",
}


def updated(page: str, report: dict[str, Any]) -> str:
    """Raises ValueError where the page has lost its marks."""
    plot = "![recall@1 of every arm on both galleries, by kind of query](reranking.png)"
    parts = [plot, _bars(report), *(_gallery(name, report[name]) for name in ("hard", "harder") if name in report)]
    if "poor" in report:
        parts.append(_poor(report["poor"]))
    return between(page, _BEGIN, _END, "\n\n".join(parts))


def _bars(report: dict[str, Any]) -> str:
    rows = [(_LABELS[bar["name"]], measured(bar), "{1} {0:,g}".format(*BARS[bar["name"]])) for bar in report["bars"]]
    return table(("what was asked for", "measured", "bar"), rows)


def _gallery(name: str, told: dict[str, Any]) -> str:
    kinds = list(told["by_kind"])
    rows = []
    for arm, label in _ARMS.items():
        against = told["tree_minus"].get(arm)
        margin = (
            "" if against is None else f"{against['difference']:+.3f} ({against['low']:+.3f} … {against['high']:+.3f})"
        )
        cost = told["costs"][arm]
        shares = [f"{told['by_kind'][kind][arm]:.3f}" for kind in kinds]
        rows.append((label, f"{told['recall_at_1'][arm]:.3f}", *shares, f"{cost['tokens']:,.0f}", margin))
    head = ("arm", "recall@1", *kinds, "decoder tokens", "tree − arm, 95 %")
    return f"The {name} gallery, {told['queries']:,} queries:\n\n{table(head, rows)}"


def _poor(rows: list[dict[str, Any]]) -> str:
    names = ("captioner", "canaries", "canaries_of_the_search", "recall_at_1", "plain_recall_at_1")
    told = [(*(str(row[name]) for name in names), "yes" if row["let_in"] else "no") for row in rows]
    head = ("captioner", "canaries right", "by the search", "recall@1", "plain", "let in")
    return f"Captioners of other quality on 120 hard queries:\n\n{table(head, told)}"


def main() -> None:
    from benchmarks.rerank.plot import draw

    report = json.loads(RESULT.read_text(encoding="utf-8"))
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
    draw(report)


if __name__ == "__main__":
    main()
