"""`clipserve bulk` as a process: its time, its memory, its end by kills."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from pyarrow import parquet


class Ran(NamedTuple):
    seconds: float
    driver_bytes: int  # the most that the driver itself held
    shard_seconds: float  # from the first shard to the last, without the start


def command(source: Path, model: Path, out: Path, *more: str) -> list[str]:
    words = [sys.executable, "-P", "-m", "scripts", "bulk", str(source), "--model", str(model), "--out", str(out)]
    return [*words, *more]


def run(words: Sequence[str]) -> Ran:
    """Raises CalledProcessError."""
    began, most = time.monotonic(), 0
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        about = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                most = max(most, about.memory_info().rss)
            time.sleep(0.1)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(words))
    return Ran(time.monotonic() - began, most, _working(Path(words[list(words).index("--out") + 1])))


def _working(out: Path) -> float:
    """From the moment that the first shard was begun to the end of the last one."""
    ends = sorted(path.stat().st_mtime for path in (out / "_bulk" / "done").iterdir())
    first = min((out / "_bulk" / "done").iterdir(), key=lambda path: path.stat().st_mtime)
    return ends[-1] - ends[0] + float(json.loads(first.read_text(encoding="utf-8"))["seconds"])


def run_with_kills(words: Sequence[str], out: Path, kills: int, shards: int, seed: int) -> int:
    """Killed with all its processes while it writes `shards` shards, then let to its end: how many kills hit.

    The moments follow what is written, not the clock: a random number of shards more, and a random part of a second.
    """
    dice, hit = random.Random(seed), 0
    for _ in range(kills):
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            enough = len(_parts(out)) + 1 + dice.randrange(shards // (2 * kills))
            while len(_parts(out)) < enough and process.poll() is None:
                time.sleep(0.02)
            time.sleep(dice.uniform(0.0, 0.3))
            if process.poll() is None:
                hit += 1
                _kill_all(process)
    run(words)
    return hit


def _parts(out: Path) -> list[Path]:
    return list(out.glob("part-*.parquet"))


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for each in family:
        with contextlib.suppress(psutil.Error):
            each.kill()


def content(out: Path) -> list[tuple[str, tuple[float, ...]]]:
    """Ids and vectors, sorted."""
    found: list[tuple[str, tuple[float, ...]]] = []
    for path in _parts(out):
        table = parquet.read_table(path, columns=["id", "vector"])
        vectors = table.column("vector").to_pylist()
        found += [(name, tuple(each)) for name, each in zip(table.column("id").to_pylist(), vectors, strict=True)]
    return sorted(found)
