"""One search, shown as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from clipserve_client import Client
from clipserve_client.sources.walking import one_line, readable
from scripts.demo.demo_collection import QUERY


def show_search(
    client: Client,
    console: Console,
    collection: str,
    text: str = QUERY,
    k: int = 5,
    rerank: dict[str, Any] | None = None,
) -> None:
    """`rerank`: its options as the gateway takes them."""
    answer = client.search(collection, text, k=k, rerank=rerank)
    table = Table(title=escape(f"“{text}” in {collection}"), title_justify="left")
    for column in ("score", "id", "what it shows"):
        table.add_column(column)
    for hit in answer.hits:
        metadata = hit.metadata or {}
        shown = str(metadata.get("caption") or metadata.get("file") or "")
        table.add_row(f"{hit.score:.3f}", escape(readable(hit.id)), escape(one_line(shown)))
    console.print(table)
    if answer.rerank is not None:
        _show_reranking(console, answer.rerank)
    timing = ", ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in answer.raw["timing"].items())
    console.print(f"[dim]{timing}[/dim]")


def _show_reranking(console: Console, told: dict[str, Any]) -> None:
    """The tree with what the first hit scored in it, and what reranking says of itself."""
    if tree := told.get("tree"):
        console.print(_drawn(tree))
    spent = f", the budget of {told['budget_spent']} was spent" if told["budget_spent"] else ""
    said = f": {told['note']}" if told["note"] else ""
    done = f"reranked {told['scored']} of {told['candidates']}" if told["applied"] else "not reranked"
    lacks = "".join(f"; the first hit does not fit “{label}”" for label in told.get("missing") or ())
    shown = f"{done} by {told['by']} in {told['ms']:.1f} ms{spent}{said}{lacks}"
    console.print(escape(shown), style="dim", soft_wrap=True)


def _drawn(tree: dict[str, Any]) -> Tree:
    first = tree["candidates"][0]["values"] if tree["candidates"] else [None] * len(tree["nodes"])
    root = Tree("how the first hit fits: log P of a clause, log-odds below it")
    branches: list[Tree] = []
    for node, value in zip(tree["nodes"], first, strict=True):
        above = root if node["parent"] is None else branches[node["parent"]]
        shown = "not asked" if value is None else f"{value:+.1f}"
        branches.append(above.add(escape(f"{node['kind']} {node['label']}  {shown}")))
    return root
