"""The demo collection: rendered scenes, ingested like anyone's pictures, and one search shown as a table."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from clipserve_client import Client, FolderOptions
from clipserve_client.errors import Conflict
from scripts.collections.ingest import ingest
from scripts.demo.render_gallery import LISTING, render_gallery

COLLECTION = "demo"
QUERY = "a large purple striped heart"  # a combination that the demo model was never trained on


def fill_demo(client: Client, gallery: Path, console: Console) -> str:
    """Render the gallery if it is not there, and ingest it if the collection does not hold these scenes.

    Returns the collection's name.
    """
    render_gallery(gallery, console=console)
    collection = _made(client)
    scenes = _listed(gallery)
    if scenes.items() <= {item.id: (item.metadata or {}).get("caption") for item in client.items(collection)}.items():
        console.print(f"[dim]collection[/dim] {collection} holds {len(scenes)} pictures already")
    else:
        ingest(client, [gallery], collection, FolderOptions(remember=False), console)
    return collection


def _listed(gallery: Path) -> dict[str, str]:
    """The caption of each scene by its id."""
    rows = map(json.loads, (gallery / LISTING).read_text(encoding="utf-8").splitlines())
    return {row["id"]: row["caption"] for row in rows}


def _made(client: Client) -> str:
    """`demo`; where that is an alias, or waits for another model, a collection that is named after this model."""
    try:
        client.create_collection(COLLECTION)
    except Conflict:
        own = f"{COLLECTION}-{client.models()[0].fingerprint[:6]}"
        client.create_collection(own)
        return own
    return COLLECTION
