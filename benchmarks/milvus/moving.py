"""A collection moved from one store into the other while a client searches it and writes to it."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from benchmarks.index.data import DIM
from benchmarks.index.live import LiveIndex
from benchmarks.lib.busy_client import busy_client
from clip_core.wire import FloatArray
from scripts.collections.move import Move
from scripts.collections.reindex import State
from scripts.public_api import PublicApi


def move_in_use(live: LiveIndex, images: FloatArray, folder: Path, console: Console) -> dict[str, float]:
    """Into Milvus and back again: failed requests, lost items, and how long each way took."""
    live.create(DIM, "before", store="embedded")
    live.fill(images, name="before")
    live.call("PUT", "/aliases/moving", {"collection": "before"})
    figures: dict[str, float] = {}
    with busy_client(live.again().call, "moving", images) as client:
        for source, target, store in (("before", "there", "milvus"), ("there", "back", "embedded")):
            started = time.perf_counter()
            work = Move(PublicApi(live.url), folder / f"{target}.json", State(source, target), store)
            work.copy(console)
            work.complete("moving")
            figures[f"move_to_{store}_s"] = time.perf_counter() - started
    held, after = set[str](), ""
    while after is not None:
        page = live.call("GET", f"/collections/back/items?limit=10000&after={after}")
        held |= {item["id"] for item in page["items"]}
        after = page["next"]
    for failure in client.failures[:3]:
        console.print(failure)
    lost = {str(n) for n in range(len(images))}.union(client.acknowledged) - held
    return {
        "move_failed_requests": float(len(client.failures)),
        "move_requests": float(client.calls),
        "move_lost_items": float(len(lost)),
        **figures,
    }
