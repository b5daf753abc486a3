"""Pictures → a collection, through the public API, with a progress bar."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clip_core.errors import BadInput
from scripts.public_api import PublicApi

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
BATCH = 32
SENDERS = 2


@dataclass(frozen=True)
class Picture:
    id: str
    path: Path
    metadata: dict[str, Any] = field(default_factory=dict)


def find_pictures(directory: Path) -> list[Picture]:
    """A `gallery.jsonl` (id, file, caption, metadata) when there is one, else every picture below `directory`."""
    listing = directory / "gallery.jsonl"
    if listing.exists():
        return [_listed(directory, json.loads(line)) for line in listing.read_text(encoding="utf-8").splitlines()]
    files = sorted(path for path in directory.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise BadInput(f"{directory} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    names = [path.relative_to(directory).as_posix() for path in files]
    return [Picture(name, path, {"file": name}) for name, path in zip(names, files, strict=True)]


def _listed(directory: Path, row: dict[str, Any]) -> Picture:
    metadata = {"file": row["file"], "caption": row.get("caption", ""), **row.get("metadata", {})}
    return Picture(row["id"], directory / row["file"], metadata)


def ingest(api: PublicApi, collection: str, pictures: Sequence[Picture], console: Console) -> list[str]:
    """Upsert every picture. Returns one line for each that failed; the others are in."""
    failed: list[str] = []
    columns = (TextColumn(f"ingest {collection}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(SENDERS) as senders:
        task = progress.add_task("ingest", total=len(pictures))
        for batch, lines in senders.map(lambda b: (b, _send(api, collection, b)), _batches(pictures)):
            failed += lines
            progress.advance(task, len(batch))
    return failed


def _batches(pictures: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    return (pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH))


def _send(api: PublicApi, collection: str, batch: Iterable[Picture]) -> list[str]:
    items = [{"id": p.id, "image": data_uri(p.path), "metadata": p.metadata} for p in batch]
    results = api.call("POST", f"/v1/collections/{collection}/items", {"items": items})["results"]
    return [f"{r['id']}: {r.get('error', {}).get('message')}" for r in results if r["status"] >= 300]


def data_uri(path: Path) -> str:
    """The file's bytes, as the public API takes them."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
