"""Where shards are encoded: on Ray Data, on this machine or a cluster, or in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scripts.bulk.job import BulkJob
from scripts.bulk.shards.errors import BulkFailed
from scripts.bulk.shards.shard import Done, Shard, read_done, read_shard

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
_STORE_BYTES = 256 * 1024 * 1024  # of Ray's object store here: only descriptions of shards go through it


class Runner(Protocol):
    def run(self, job: BulkJob, shards: Sequence[Shard]) -> Iterator[Done]:
        """As they end, in any order. Raises BulkFailed when no worker can be started."""
        ...


class InThisProcess:
    """One shard after the other, without Ray."""

    def run(self, job: BulkJob, shards: Sequence[Shard]) -> Iterator[Done]:
        from scripts.bulk.worker import ShardWorker

        worker = ShardWorker(job)
        yield from map(worker.run, shards)


@dataclass(frozen=True)
class OnRay:
    """`address` of a cluster; None: this machine. `gpus`: of one actor."""

    actors: int
    address: str | None = None
    gpus: float = 0.0

    def run(self, job: BulkJob, shards: Sequence[Shard]) -> Iterator[Done]:
        ray = self._started(job)
        try:
            yield from self._streamed(ray, job, shards)
        except ray.exceptions.RayError as error:
            raise BulkFailed(f"Ray ended the run: {_first_line(error)}") from error
        finally:
            ray.shutdown()

    def _started(self, job: BulkJob) -> Any:
        """Raises BulkFailed."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise BulkFailed(
                "bulk runs on Ray: `make setup-bulk`, or pip install 'clipserve[bulk]'; or --no-ray"
            ) from None
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # it has a token, and says so
        here: dict[str, Any] = {
            "num_cpus": self.actors * job.threads,
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",  # nobody else is to reach it
        }
        try:
            ray.init(
                self.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                **({} if self.address else here),
            )
        except Exception as error:  # Ray raises several kinds
            raise BulkFailed(f"Ray can't be started: {_first_line(error)}") from error
        return ray

    def _streamed(self, ray: Any, job: BulkJob, shards: Sequence[Shard]) -> Iterator[Done]:
        """A shard is a block of its own, so that every actor has work until the last ones."""
        from ray.data import ActorPoolStrategy, DataContext

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        rows = ray.data.from_items([{"shard": shard.line()} for shard in shards], override_num_blocks=len(shards))
        done = rows.map_batches(
            Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=ActorPoolStrategy(size=min(self.actors, len(shards)), max_tasks_in_flight_per_actor=2),
            num_cpus=job.threads,
            **({"num_gpus": self.gpus} if self.gpus else {}),
        )
        for row in done.iter_rows():
            yield read_done(str(row["done"]))


class Actor:
    """A worker as Ray Data calls it: a batch of one shard → what became of it.

    Ray would start an actor that fails at its start again and again; so this one starts, and says what is wrong.
    """

    def __init__(self, job: BulkJob) -> None:
        from scripts.bulk.worker import ShardWorker

        self._fault = ""
        try:
            self._worker = ShardWorker(job)
        except Exception as error:  # of whatever kind: the driver tells it
            self._fault = getattr(error, "message", "") or f"{type(error).__name__}: {error}"

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        return {"done": np.array([self._run(shard).json() for shard in _read(batch["shard"])], dtype=object)}

    def _run(self, shard: Shard) -> Done:
        if self._fault:
            return Done(shard.number, shard.version, error=f"no model: {self._fault}", again=True, fatal=True)
        return self._worker.run(shard)


def _read(lines: Iterable[Any]) -> Iterator[Shard]:
    return (read_shard(str(line)) for line in lines)


def _first_line(error: BaseException) -> str:
    """Ray's messages are tracebacks; what was raised stands at their end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line or "BadModel" in line]
    return (told[-1] if told else lines[-1] if lines else type(error).__name__)[:500]
