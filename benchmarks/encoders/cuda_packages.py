"""The GPU benchmark's packages, several compiled at once, each by a process of its own: one takes a minute.

python -m benchmarks.encoders.cuda_packages --model ViT-B-32 --what image --precision bf16 PATH
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.encoders.cuda_towers import PARTS, OurTower
from benchmarks.encoders.plans import ModelPlan
from benchmarks.encoders.rounds import ModelJob
from benchmarks.encoders.towers import Subject
from clip_core.networks.precision import unavailable

ROOT = Path(__file__).resolve().parents[2]
COMPILING = 0.5  # the share of the run after which nothing more is compiled
DAY_S = 86_400  # a subprocess takes no infinite timeout
CORES_EACH = 3  # one of Python, the others of Triton's and the C++ compiler


@dataclass(frozen=True)
class Package:
    what: str
    precision: str

    def path(self, directory: Path) -> Path:
        return directory / f"cuda-{self.precision}-{PARTS[self.what]}.pt2"

    @property
    def label(self) -> str:
        return f"{self.what}, ours {self.precision}"

    def compile(self, job: ModelJob, device: str) -> float | None:
        """Seconds that it took; None where it failed or was not done when the time to compile in was over."""
        what = ("--what", self.what, "--precision", self.precision)
        path = str(self.path(job.directory).resolve())
        command = [sys.executable, "-m", __name__, "--model", job.plan.model, *what, "--device", device, path]
        started, left = time.monotonic(), job.deadline.left(COMPILING)
        try:
            subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=min(max(left, 0), DAY_S))
        except subprocess.SubprocessError:
            return None
        return round(time.monotonic() - started, 1)


def packages(plan: ModelPlan) -> Iterator[Package]:
    """By importance: pictures before texts, precisions in the plan's order."""
    for what in PARTS:
        for precision in plan.precisions:
            yield Package(what, precision)


def compile_all(job: ModelJob, device: str) -> dict[str, float]:
    """Seconds by label of what was compiled in time; what failed is left for whoever asks for it, and fails there."""
    wanted = [
        each
        for each in packages(job.plan)
        if unavailable(each.precision, device) is None and not each.path(job.directory).exists()
    ]
    job.say(f"compiling {len(wanted)} packages")
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // CORES_EACH)) as pool:
        seconds = pool.map(lambda package: package.compile(job, device), wanted)
        return {package.label: took for package, took in zip(wanted, seconds, strict=True) if took is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="open_clip architecture")
    parser.add_argument("--what", choices=PARTS, required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    subject = Subject.random(arguments.model, 1)
    tower = OurTower.build(subject, arguments.what, arguments.precision, arguments.device)
    unfinished = arguments.path.with_name(f"{os.getpid()}-{arguments.path.name}")
    try:
        tower.compile(unfinished)
        unfinished.rename(arguments.path)
    finally:
        unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
