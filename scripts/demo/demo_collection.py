"""The demo collection: rendered scenes, ingested like anyone's pictures, and one search shown as a table."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from clipserve_client import Client, Collection, FolderOptions
from clipserve_client.errors import FingerprintMismatch
from clipserve_client.sources.walking import walk
from scripts.collections.ingest import ingest
from scripts.demo.render_gallery import render_gallery

COLLECTION = "demo"
QUERY = "a large purple striped heart"  # a combination that the demo model was never trained on


def fill_demo(client: Client, gallery: Path, console: Console) -> None:
    """Render the gallery if it is not there, and ingest it if the collection does not hold as many pictures."""
    render_gallery(gallery, console=console)
    pictures = sum(not found.skipped for found in walk(gallery))
    if _made(client).count == pictures:
        console.print(f"[dim]collection[/dim] {COLLECTION} holds {pictures} pictures already")
        return
    ingest(client, [gallery], COLLECTION, FolderOptions(remember=False), console)


def _made(client: Client) -> Collection:
    """The demo collection; made anew for another model."""
    try:
        client.create_collection(COLLECTION)
    except FingerprintMismatch:
        client.drop_collection(COLLECTION)
        client.create_collection(COLLECTION)
    return client.collection(COLLECTION)
