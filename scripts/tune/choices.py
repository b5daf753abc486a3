"""How `clipserve bench tune` looks for an endpoint's settings: one group at a time, the best kept for the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clip_core.endpoint_config import EndpointConfig

BATCH_SIZES = (1, 4, 8, 16, 32)
DELAYS_MS = (1, 2, 5)
_EVEN = 0.97  # throughputs this close are taken for equal: the machine's noise


@dataclass(frozen=True)
class Choice:
    """Settings of an endpoint: TorchServe's workers, batchSize and maxBatchDelay (ms), our threads and pass size."""

    workers: int
    threads: int
    batch_size: int
    delay_ms: int
    max_batch: int = EndpointConfig.max_batch

    @classmethod
    def of(cls, config: dict[str, Any], cores: int) -> Choice:
        """What a model-config.yaml says. Threads of 0 are the cores divided among the workers."""
        workers = int(config["minWorkers"])
        threads = int(config["threads"]) or max(1, cores // workers)
        most = int(config.get("max_batch", EndpointConfig.max_batch))
        return cls(workers, threads, int(config["batchSize"]), int(config["maxBatchDelay"]), most)

    def keys(self) -> dict[str, int]:
        """The same as keys of a model-config.yaml."""
        return {
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "batchSize": self.batch_size,
            "maxBatchDelay": self.delay_ms,
            "threads": self.threads,
            "max_batch": self.max_batch,
        }


@dataclass(frozen=True)
class Trial:
    """What a choice gave: requests a second and 99th percentile under load, median of a lone request."""

    choice: Choice
    rate: float
    p99_ms: float
    alone_ms: float
    errors: int


def splits(cores: int) -> list[tuple[int, int]]:
    """(workers, threads) that use all cores and no more: one worker with all of them, up to one worker a core."""
    return [(workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0]


def candidates(best: Choice, cores: int, stage: int) -> list[Choice]:
    """The choices of a stage: how cores are divided, then batch sizes, then delays (a batch of 1 never waits)."""
    if stage == 0:
        return [best, *(replace(best, workers=w, threads=t) for w, t in splits(cores))]
    if stage == 1:
        return [replace(best, batch_size=size) for size in BATCH_SIZES]
    return [replace(best, delay_ms=delay) for delay in DELAYS_MS if best.batch_size > 1]


def search(start: Choice, cores: int, measure: Callable[[Choice], Trial], p99_limit_ms: float) -> Iterator[Trial]:
    """Every trial as it is made; nothing is measured twice."""
    trials: dict[Choice, Trial] = {}
    best = start
    for stage in range(3):
        for choice in candidates(best, cores, stage):
            if choice not in trials:
                trials[choice] = measure(choice)
                yield trials[choice]
        best = pick(list(trials.values()), p99_limit_ms).choice


def pick(trials: Sequence[Trial], p99_limit_ms: float) -> Trial:
    """The highest throughput within the limit, the lower lone latency among equals; the lowest p99 if none keeps it."""
    whole = [trial for trial in trials if not trial.errors] or list(trials)
    within = [trial for trial in whole if trial.p99_ms <= p99_limit_ms]
    if not within:
        return min(whole, key=lambda trial: trial.p99_ms)
    top = max(trial.rate for trial in within)
    return min((trial for trial in within if trial.rate >= _EVEN * top), key=lambda trial: trial.alone_ms)
