"""The demo collection: rendered scenes, ingested like anyone's pictures, and one search shown as a table."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from clip_core.errors import FingerprintMismatch, UnknownCollection
from scripts.collections.ingest import find_pictures, ingest
from scripts.demo.render_gallery import render_gallery
from scripts.public_api import PublicApi

COLLECTION = "demo"
QUERY = "a large purple striped heart"  # a combination that the demo model was never trained on


def fill_demo(api: PublicApi, gallery: Path, console: Console) -> None:
    """Render the gallery if it is not there, and ingest what the collection does not hold."""
    render_gallery(gallery, console=console)
    pictures = find_pictures(gallery)
    if _count(api) == len(pictures):
        console.print(f"[dim]collection[/dim] {COLLECTION} holds {len(pictures)} pictures already")
        return
    for line in ingest(api, COLLECTION, pictures, console):
        console.print(f"[yellow]not ingested[/yellow] {line}")


def _count(api: PublicApi) -> int:
    """Items of the demo collection, made (or made anew for another model) if need be."""
    try:
        api.call("PUT", f"/v1/collections/{COLLECTION}", {})
    except FingerprintMismatch:
        api.call("DELETE", f"/v1/collections/{COLLECTION}")
        api.call("PUT", f"/v1/collections/{COLLECTION}", {})
    try:
        return int(api.call("GET", f"/v1/collections/{COLLECTION}")["count"])
    except UnknownCollection:
        return 0
