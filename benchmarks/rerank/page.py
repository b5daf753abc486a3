"""The tables and the plot of docs/reranking.md from the committed results.

python -m benchmarks.rerank.page
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.lib.markdown import bars_table, rewritten, table
from benchmarks.lib.reports import DOCS, saved
from benchmarks.rerank.command import BARS

PAGE = DOCS / "reranking.md"
_EQUAL = 5e-4  # shares are told to three digits
_ARMS = {
    "plain": "plain search",
    "ensemble": "prompt ensemble, 5 templates",
    "generative": "`captioner`, 20 candidates",
    "generative_more": "`captioner`, as many candidates as the tree's tokens pay for",
    "random_tree": "a random tree of the same shape (control)",
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


_SERVED = (
    ("plain search", "served_plain_p50_ms", ""),
    ("`captioner`, 20 candidates", "served_captioner_p50_ms", "added_captioner_p50_ms"),
    (
        "`tree`, 20 candidates, {pictures_new_to_the_captioner:.1f} of them new to it",
        "served_tree_p50_ms",
        "added_p50_ms",
    ),
    ("`tree`, the same again", "served_tree_again_p50_ms", "added_again_p50_ms"),
    ("`llm`, 20 candidates", "served_llm_p50_ms", "added_llm_p50_ms"),
)


def updated(page: str, report: dict[str, Any]) -> str:
    """Raises ValueError where the page has lost its marks."""
    plot = "![recall@1 of every arm on both galleries, by kind of query](reranking.png)"
    bars = bars_table(report["bars"], _LABELS, BARS)
    parts = [plot, bars, *(_gallery(name, report[name]) for name in ("hard", "harder") if name in report)]
    if "served_plain_p50_ms" in report["figures"]:
        parts.append(_served(report["figures"], report["machine"]))
    if "poor" in report:
        parts.append(_poor(report["poor"]))
    return rewritten(page, {"rerank": "\n\n".join(parts)}, "python -m benchmarks.rerank.page")


def _gallery(name: str, told: dict[str, Any]) -> str:
    kinds = list(told["by_kind"])
    rows = []
    for arm, label in _ARMS.items():
        cost, against = told["costs"][arm], told["tree_minus"].get(arm)
        shares = [f"{told['by_kind'][kind][arm]:.3f}" for kind in kinds]
        costs = [f"{cost['tokens']:,.0f}", f"{cost['pictures']:,.0f} + {cost['texts_encoded']:,.0f}"]
        rows.append((label, f"{told['recall_at_1'][arm]:.3f}", *shares, *costs, _margin(against) if against else ""))
    head = ("arm", "recall@1", *kinds, "decoder tokens", "pictures + texts encoded", "tree − arm, 95 %")
    return f"The {name} gallery, {told['queries']:,} queries:\n\n{table(head, rows)}\n\n{_wins_and_losses(told)}"


def _margin(told: dict[str, float]) -> str:
    return f"{told['difference']:+.3f} ({told['low']:+.3f} … {told['high']:+.3f})"


def _wins_and_losses(told: dict[str, Any]) -> str:
    """Of the tree against one sentence at equal tokens, by kind; reports of before may have no intervals of kinds."""
    intervals = told.get("tree_minus_generative_more_by_kind", {})
    said: dict[str, list[str]] = {"wins on": [], "loses on": [], "is as good on": []}
    for kind, shares in told["by_kind"].items():
        difference = shares["tree"] - shares["generative_more"]
        how = "is as good on" if abs(difference) < _EQUAL else "wins on" if difference > 0 else "loses on"
        said[how].append(f"{kind} ({difference:+.3f}{_within(intervals.get(kind))})")
    told_of = "; ".join(f"{how} {', '.join(kinds)}" for how, kinds in said.items() if kinds)
    claims = told["tree_minus"]["random_tree"]
    gain = "is more than chance" if claims["low"] > 0 else "may be chance"
    gained = f"{claims['difference']:+.3f}{_within(claims)}"
    return (
        f"Against `captioner` at equal tokens the tree {told_of}.\nWhat it gains over a random tree {gain} ({gained})."
    )


def _within(interval: dict[str, float] | None) -> str:
    return "" if interval is None else f", 95 % {interval['low']:+.3f} … {interval['high']:+.3f}"


def _served(figures: dict[str, float], machine: dict[str, Any]) -> str:
    rows = [
        (what.format(**figures), f"{figures[p50]:.0f}", f"{figures[added]:+.0f}" if added else "")
        for what, p50, added in _SERVED
        if p50 in figures
    ]
    head = ("a search of a demo stack", "p50, ms", "added, ms")
    return (
        f"Time on {machine['cores']} cores ({machine['cpu']}):\n\n{table(head, rows)}\n\n{' '.join(_beside(figures))}"
    )


def _beside(figures: dict[str, float]) -> Iterator[str]:
    """What a stack was asked once, and what was asked of a language model."""
    many = "many_candidates"
    yield f"{figures[many]:,.0f} candidates by `captioner` at once took {figures[f'{many}_ms']:,.0f} ms."
    if "first_tree_ms" in figures:
        measuring = "[measuring the captioner](#a-poor-captioner-is-left-out)"
        of_all = f"{figures['first_measuring_ms']:,.0f} of {figures['first_tree_ms']:,.0f} ms"
        yield f"The first tree after a start spent {of_all} on {measuring}."
    if "llm_queries" in figures:
        recall, plain = figures["served_llm_recall_at_1"], figures["served_llm_plain_recall_at_1"]
        yield f"The language model put {figures['llm_queries']:.0f} of the hard queries in order:"
        yield f"recall@1 {recall:.3f}, by the search {plain:.3f}, {figures['llm_tokens']:,.0f} tokens each."
    else:
        yield "No language model was configured for this run; where one is, the benchmark judges its order, too."


def _poor(rows: list[dict[str, Any]]) -> str:
    names = ("captioner", "canaries", "canaries_of_the_search", "recall_at_1", "plain_recall_at_1")
    told = [(*(str(row[name]) for name in names), "yes" if row["let_in"] else "no") for row in rows]
    head = ("captioner", "canaries right", "by the search", "recall@1", "plain", "let in")
    return f"Captioners of other quality on 120 hard queries:\n\n{table(head, told)}"


def main() -> None:
    from benchmarks.rerank.plot import draw

    report = saved("rerank")
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
    draw(report)


if __name__ == "__main__":
    main()
