"""One search, shown as a table."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clipserve_client import Client
from scripts.demo.demo_collection import QUERY


def show_search(client: Client, console: Console, collection: str, text: str = QUERY, k: int = 5) -> None:
    answer = client.search(collection, text, k=k)
    table = Table(title=escape(f"“{text}” in {collection}"), title_justify="left")
    for column in ("score", "id", "what it shows"):
        table.add_column(column)
    for hit in answer.hits:
        metadata = hit.metadata or {}
        shown = str(metadata.get("caption") or metadata.get("file") or "")
        table.add_row(f"{hit.score:.3f}", escape(hit.id), escape(shown))
    console.print(table)
    timing = ", ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in answer.raw["timing"].items())
    console.print(f"[dim]{timing}[/dim]")
