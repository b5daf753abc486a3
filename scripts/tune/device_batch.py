"""The pass size that a machine runs an archive's towers best at: `max_batch`, as `clipserve bench tune` sets it.

Forward passes of one size after another, without TorchServe: small ones pay more often for what a pass costs beside its
items, large ones fall out of the caches and keep the first of their items waiting for the last.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadModel
from scripts.processes import launching

if TYPE_CHECKING:  # torch is loaded by the process that measures
    from clip_core.encode.encoders import Encoders

SIZES = (4, 8, 16, 32, 64)
BUDGET_S = 10.0
_EVEN = 0.97  # rates this close are taken for equal: the machine's noise
Run = Callable[[int], object]
Clock = Callable[[], float]


def pick(rates: Mapping[int, float]) -> int:
    """The smallest size among the fastest."""
    top = max(rates.values())
    return min(size for size, rate in rates.items() if rate >= _EVEN * top)


def rates(
    run: Run, sizes: Sequence[int] = SIZES, budget_s: float = BUDGET_S, clock: Clock = time.perf_counter
) -> dict[int, float]:
    """Size → items a second, medians over laps that fill `budget_s`. `run(size)` makes one pass."""
    end = clock() + budget_s
    seconds: dict[int, list[float]] = {size: [] for size in _feasible(run, sizes, budget_s / 10, clock)}
    while not all(seconds.values()) or clock() < end:
        for size, laps in seconds.items():
            laps.append(_timed(run, size, clock))
    return {size: size / statistics.median(laps) for size, laps in seconds.items()}


def _feasible(run: Run, sizes: Sequence[int], longest_s: float, clock: Clock) -> Iterator[int]:
    """The first size, and those whose pass should take no longer than `longest_s`; each has run once."""
    for size in sizes:
        run(size)
        yield size
        if 2 * _timed(run, size, clock) > longest_s:
            return


def _timed(run: Run, size: int, clock: Clock) -> float:
    started = clock()
    run(size)
    return clock() - started


def passes(encoders: Encoders) -> Run:
    """One pass of each tower on `size` items: noise for pictures, short and longer texts."""
    import torch

    from clip_core.inputs.tokens import stack
    from scripts.tune.requests import requests

    text, image, runs = encoders.text, encoders.image, list[Run]()
    if image is not None:
        pixels = torch.randint(0, 256, (max(SIZES), 3, *image.size), dtype=torch.uint8)
        runs.append(lambda size: image.forward(pixels[:size]))
    if text is not None and encoders.tokenizer is not None:
        texts = [body["input"]["text"] for body in requests("text")[: max(SIZES)]]
        ids = stack([encoders.tokenizer(each) for each in texts])
        runs.append(lambda size: text.forward(ids[:size]))
    return lambda size: [run(size) for run in runs]


def measure(directory: Path) -> dict[int, float]:
    """`rates` of the unpacked archive in `directory`, by a process that goes away with its weights and threads.

    Raises BadModel when the archive does not load.
    """
    command = launching.module("scripts.tune.device_batch", str(directory))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BadModel(f"the towers can't be timed: {done.stderr.strip()[-2000:]}")
    return {int(size): rate for size, rate in json.loads(done.stdout.splitlines()[-1]).items()}


def main(directory: Path) -> None:
    config = EndpointConfig.parse(yaml.safe_load((directory / "model-config.yaml").read_text(encoding="utf-8")))
    from clip_core.encode.encoders import Encoders

    print(json.dumps(rates(passes(Encoders.load(directory, config)))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
