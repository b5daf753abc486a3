"""Where shards are encoded: on Ray Data, on this machine or a cluster, or in this process."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from clip_core.cores import available_cores
from scripts import launch
from scripts.bulk.job import BulkJob
from scripts.bulk.shards.errors import BulkFailed
from scripts.bulk.shards.shard import Done, Shard, read_done, read_shard
from scripts.bulk.sizing import RayNode, Size, sized

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
_STORE_BYTES = 256 * 1024 * 1024  # of Ray's object store here: only descriptions of shards go through it
_SHOWN = 5  # machines
_CONNECT_S = 20.0


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
    """`actors` of `threads` each; None: what the machines have room for. `gpus`: of one actor.

    `address` of a cluster; None: this machine.
    """

    actors: int | None = None
    threads: int | None = None
    address: str | None = None
    gpus: float = 0.0

    def run(self, job: BulkJob, shards: Sequence[Shard]) -> Iterator[Done]:
        ray = self._started()
        try:
            size = self._sized(ray)
            yield from self._streamed(ray, replace(job, threads=size.threads), size.processes, shards)
        except ray.exceptions.RayError as error:
            raise BulkFailed(f"Ray ended the run: {_first_line(error)}") from error
        finally:
            ray.shutdown()

    def _started(self) -> Any:
        """Raises BulkFailed."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise BulkFailed(
                "bulk runs on Ray: `make setup-bulk`, or pip install 'clipserve[bulk]'; or --no-ray"
            ) from None
        if self.address is not None:
            _check_that_it_answers(self.address)
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # it has a token, and says so
        here: dict[str, Any] = {
            "num_cpus": max(available_cores(), (self.actors or 1) * (self.threads or 1)),
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",  # nobody else is to reach it
        }
        try:
            with _in_a_folder_without_modules():
                ray.init(
                    self.address or "local",  # never a cluster that runs here, or that RAY_ADDRESS names
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                    **({} if self.address else here),
                )
        except Exception as error:  # Ray raises several kinds
            token = "; one with token authentication wants RAY_AUTH_MODE=token and the token" if self.address else ""
            raise BulkFailed(f"Ray can't be started: {_first_line(error)}{token}") from error
        return ray

    def _sized(self, ray: Any) -> Size:
        """Raises BulkFailed: Ray would wait without end for a machine that never comes.

        A cluster may get one while it waits, so who names the number of processes is not refused there.
        """
        nodes = [
            RayNode(int(node["Resources"].get("CPU", 0)), float(node["Resources"].get("GPU", 0)))
            for node in ray.nodes()
            if node["Alive"]
        ]
        size = sized(nodes, self.actors, self.threads, self.gpus)
        if size.fits or (self.address is not None and self.actors is not None):
            return size
        needs = f"{size.threads} cores" + f" and {self.gpus:g} GPUs" * bool(self.gpus)
        there = ", ".join(f"{node.cores} cores and {node.gpus:g} GPUs" for node in nodes[:_SHOWN])
        raise BulkFailed(f"a process needs {needs}, and no machine has these: Ray sees {there or 'no machine'}")

    def _streamed(self, ray: Any, job: BulkJob, processes: int, shards: Sequence[Shard]) -> Iterator[Done]:
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
            compute=ActorPoolStrategy(size=min(processes, len(shards)), max_tasks_in_flight_per_actor=2),
            num_cpus=job.threads,
            **({"num_gpus": self.gpus} if self.gpus else {}),
        )
        for row in done.iter_rows():
            yield read_done(str(row["done"]))


def _check_that_it_answers(address: str) -> None:
    """HOST:PORT or ray://HOST:PORT. Raises BulkFailed: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise BulkFailed(f"no Ray cluster answers at {address}: {error}") from error


@contextmanager
def _in_a_folder_without_modules() -> Iterator[None]:
    """Ray's processes import from the folder that Ray is started in before all others: not from the user's."""
    before = os.getcwd()
    os.chdir(os.path.dirname(launch.__file__))
    try:
        yield
    finally:
        os.chdir(before)


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

        shards = (read_shard(str(line)) for line in batch["shard"])
        return {"done": np.array([self._run(shard).json() for shard in shards], dtype=object)}

    def _run(self, shard: Shard) -> Done:
        if self._fault:
            return Done(shard.number, shard.version, error=f"no model: {self._fault}", again=True, fatal=True)
        return self._worker.run(shard)


def _first_line(error: BaseException) -> str:
    """Ray's messages are tracebacks; what was raised stands at their end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line or "BadModel" in line]
    return (told[-1] if told else lines[-1] if lines else type(error).__name__)[:500]
