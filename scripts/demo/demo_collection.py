"""The demo collection: rendered scenes, ingested like anyone's pictures, and one search shown as a table."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from clipserve_client import Client, FolderOptions
from clipserve_client.errors import FingerprintMismatch
from scripts.collections.ingest import ingest
from scripts.demo.render_gallery import LISTING, render_gallery

COLLECTION = "demo"
QUERY = "a large purple striped heart"  # a combination that the demo model was never trained on


def fill_demo(client: Client, gallery: Path, console: Console) -> None:
    """Render the gallery if it is not there, and ingest it if the collection does not hold these scenes."""
    render_gallery(gallery, console=console)
    _make(client)
    scenes = _listed(gallery)
    if scenes.items() <= {item.id: (item.metadata or {}).get("caption") for item in client.items(COLLECTION)}.items():
        console.print(f"[dim]collection[/dim] {COLLECTION} holds {len(scenes)} pictures already")
        return
    ingest(client, [gallery], COLLECTION, FolderOptions(remember=False), console)


def _listed(gallery: Path) -> dict[str, str]:
    """The caption of each scene by its id."""
    rows = map(json.loads, (gallery / LISTING).read_text(encoding="utf-8").splitlines())
    return {row["id"]: row["caption"] for row in rows}


def _make(client: Client) -> None:
    """The demo collection; made anew for another model."""
    try:
        client.create_collection(COLLECTION)
    except FingerprintMismatch:
        client.drop_collection(COLLECTION)
        client.create_collection(COLLECTION)
