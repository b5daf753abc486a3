"""The GPU benchmark's packages, several compiled at once, each by a process of its own: one takes a minute.

python -m benchmarks.encoders.cuda_packages MODEL WHAT PRECISION DEVICE PATH
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.encoders.cuda_towers import PARTS, OurTower, package
from benchmarks.encoders.rounds import ModelJob
from benchmarks.encoders.towers import Subject
from clip_core.networks.precision import unavailable

ROOT = Path(__file__).resolve().parents[2]
COMPILING = 0.5  # the share of the run after which nothing more is compiled
DAY_S = 86_400  # a subprocess takes no infinite timeout
CORES_EACH = 3  # one of Python, the others of Triton's and the C++ compiler


def compile_all(job: ModelJob, device: str) -> dict[str, float]:
    """Seconds by label of what was compiled in time; what failed is left for whoever asks for it, and fails there."""
    named = [(what, precision) for what in PARTS for precision in job.plan.precisions]  # by importance
    possible = [each for each in named if unavailable(each[1], device) is None]
    wanted = [each for each in possible if not package(job.directory, *each).exists()]
    job.say(f"compiling {len(wanted)} packages")
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // CORES_EACH)) as pool:
        seconds = pool.map(lambda each: _in_process(job, device, *each), wanted)
        took = {f"{what}, ours {precision}": s for (what, precision), s in zip(wanted, seconds, strict=True)}
    return {label: s for label, s in took.items() if s is not None}


def _in_process(job: ModelJob, device: str, what: str, precision: str) -> float | None:
    """Seconds that it took; None where it failed or was not done when the time to compile in was over."""
    path = str(package(job.directory, what, precision).resolve())
    command = [sys.executable, "-m", __name__, job.plan.model, what, precision, device, path]
    started, left = time.monotonic(), job.deadline.left(COMPILING)
    try:
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=min(max(left, 0), DAY_S))
    except subprocess.SubprocessError:
        return None
    return round(time.monotonic() - started, 1)


def main(model: str, what: str, precision: str, device: str, path: str) -> None:
    """Compile one package; it appears whole or not at all."""
    logging.disable(logging.WARNING)
    tower = OurTower.build(Subject.random(model, 1), what, precision, device)
    unfinished = Path(path).with_name(f"{os.getpid()}-{Path(path).name}")
    try:
        tower.compile(unfinished)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
