"""What a worker's memory goes to: MB of this process after each step that a worker takes.

    python -m benchmarks.worker_memory DIRECTORY        # an unpacked image archive

Nothing of torch or ours is imported before its step. Proportional set size (what is shared is divided among those who
share it) and resident set size; after the last step glibc gives back what it holds free, which says how much of the
growth is only that. Run it with MALLOC_ARENA_MAX=2, as `clipserve up` does. The last line is one JSON document.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

BATCH, BATCHES = 16, 8


def measure(directory: Path) -> list[dict[str, Any]]:
    """One row a step: its name, MB by both counts, its seconds and how many modules are imported."""
    rows: list[dict[str, Any]] = []
    held: dict[str, Any] = {}

    def load() -> None:
        settings, encoders = (
            importlib.import_module("clip_core.settings"),
            importlib.import_module("clip_core.encode.encoders"),
        )
        held["encoders"] = encoders.Encoders.load(directory, settings.EndpointConfig(threads=2, decode_threads=2))

    steps: dict[str, Callable[[], object]] = {
        "start": lambda: None,
        "import torch": lambda: importlib.import_module("torch"),
        "import our code": lambda: importlib.import_module("clip_core.serving.batch"),
        "load": load,
        "warm up": lambda: held["encoders"].warm_up(),
        f"{BATCHES} batches of {BATCH} JPEGs": lambda: _serve(held["encoders"]),
        "malloc_trim": lambda: ctypes.CDLL(None).malloc_trim(0),
    }
    for name, step in steps.items():
        started = time.perf_counter()
        step()
        memory = psutil.Process().memory_full_info()
        seconds = round(time.perf_counter() - started, 2)
        sizes = {"pss_mb": round(memory.pss / 1e6), "rss_mb": round(memory.rss / 1e6)}
        rows.append({"step": name, **sizes, "s": seconds, "modules": len(sys.modules)})
    return rows


def _serve(encoders: Any) -> None:
    from clip_core.inputs.requests import Item, Part

    items = [Item((Part("image", _jpeg(i)),)) for i in range(BATCH)]
    for _ in range(BATCHES):
        encoders.encode(items, cut_long_texts=[True] * BATCH)


def _jpeg(seed: int) -> bytes:
    """640×480, smooth."""
    import numpy as np
    from PIL import Image

    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def main() -> None:
    rows = measure(Path(sys.argv[1]))
    for row in rows:
        print("{step:24} pss {pss_mb:5} MB  rss {rss_mb:5} MB  {s:6.2f} s  {modules} modules".format(**row))
    print(json.dumps({"directory": sys.argv[1], "steps": rows}))


if __name__ == "__main__":
    main()
