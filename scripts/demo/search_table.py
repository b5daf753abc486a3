"""One search, shown as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from scripts.demo.demo_collection import COLLECTION, QUERY
from scripts.public_api import PublicApi


def show_search(api: PublicApi, console: Console, text: str = QUERY, collection: str = COLLECTION, k: int = 5) -> None:
    answer = api.call("POST", "/v1/search", {"collection": collection, "text": text, "k": k})
    table = Table(title=f"“{text}” in {collection}", title_justify="left")
    for column in ("score", "id", "what it shows"):
        table.add_column(column)
    for hit in answer["hits"]:
        metadata = hit.get("metadata") or {}
        table.add_row(f"{hit['score']:.3f}", hit["id"], str(metadata.get("caption") or metadata.get("file") or ""))
    console.print(table)
    timing = ", ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in answer["timing"].items())
    console.print(f"[dim]{timing}[/dim]")
