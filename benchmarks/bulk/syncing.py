"""A collection that is in step already: how long a sync takes to see that."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.bulk.sources import write_pictures
from benchmarks.stack.ready_stack import ready_stack


def sync_figures(work: Path, count: int) -> dict[str, float]:
    folder = write_pictures(work / "followed", count, (96, 72))
    with ready_stack(work / "stack") as stack:
        words = [sys.executable, "-P", "-m", "scripts", "sync", str(folder), "--collection", "followed"]
        words += ["--url", stack.gateway]
        first_s = _timed(words)
        again = [_timed(words) for _ in range(3)]
        for number in range(0, count, 20):
            (folder / f"{number:06}.jpg").rename(folder / f"moved-{number:06}.jpg")
        return {
            "sync_pictures": float(count),
            "sync_first_s": first_s,
            "sync_unchanged_s": sorted(again)[1],
            "sync_moved_pictures": float(len(range(0, count, 20))),
            "sync_moved_s": _timed(words),
        }


def _timed(words: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
    return time.monotonic() - began
