"""A collection moved from the embedded store to Milvus while a client searches it and writes to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.index.data import DIM
from benchmarks.index.live import LiveIndex, searches
from clip_core.wire import FloatArray, encode_vector
from scripts.collections.move import Move
from scripts.collections.reindex import State
from scripts.public_api import PublicApi

_PAUSE_S = 0.02


class Client:
    """Searches and upserts by the alias, each counted; it knows what was acknowledged."""

    def __init__(self, live: LiveIndex, images: FloatArray) -> None:
        self._live, self._images = live.again(), images
        self.failed, self.calls, self.written = 0, 0, set[str]()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        n = 0
        while not self._stopped.wait(_PAUSE_S):
            vector = encode_vector(self._images[n % len(self._images)])
            item = {"id": f"w{n}", "vector": vector, "metadata": {"n": n}}
            if self._counted(lambda item=item: self._upsert(item)):  # type: ignore[misc]
                self.written.add(f"w{n}")
            self._counted(self._search)
            n += 1

    def _upsert(self, item: dict[str, Any]) -> None:
        answer = self._live.call("POST", "/collections/moving/items", {"fingerprint": "bench", "items": [item]})
        if answer["results"][0]["status"] != 200:
            raise RuntimeError(answer)

    def _search(self) -> None:
        (result,) = self._live.call("POST", "/search", searches(self._images[:1], collection="moving"))["results"]
        if result["status"] != 200:
            raise RuntimeError(result)

    def _counted(self, call: Callable[[], object]) -> bool:
        self.calls += 1
        try:
            call()
        except Exception:  # whatever it is, it failed
            self.failed += 1
            return False
        return True


def move_in_use(live: LiveIndex, images: FloatArray, progress: Path, console: Console) -> dict[str, float]:
    """Failed requests and lost items of a move of these rows, and how long it took."""
    live.create(DIM, "before", store="embedded")
    live.fill(images, name="before")
    live.call("PUT", "/aliases/moving", {"collection": "before"})
    started = time.perf_counter()
    with Client(live, images) as client:
        work = Move(PublicApi(live.url), progress, State("before", "after"), "milvus")
        work.copy(console)
        work.switch("moving")
        seconds = time.perf_counter() - started
    held, after = set[str](), ""
    while after is not None:
        page = live.call("GET", f"/collections/after/items?limit=10000&after={after}")
        held |= {item["id"] for item in page["items"]}
        after = page["next"]
    lost = ({str(n) for n in range(len(images))} | client.written) - held
    return {
        "move_failed_requests": float(client.failed),
        "move_requests": float(client.calls),
        "move_lost_items": float(len(lost)),
        "move_s": seconds,
    }
