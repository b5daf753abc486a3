"""`clipserve model add`: a model's endpoints are registered and warmed, then the gateway learns of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_core.errors import BadModel, ClipServeError, Conflict, NotFound
from clip_core.model_spec import ModelSpec
from gateway.models.rows import ModelRow
from scripts.costs import gigabytes
from scripts.models.archives import found_in, not_the_store, of_one_model
from scripts.models.canary import canary
from scripts.models.management import Management
from scripts.models.memory import RunningWorker, available, check_room, estimate, resident, weights, worker_count
from scripts.models.row_store import RowStore, by_kind

_WARM_UP = 8


@dataclass(frozen=True)
class Addition:
    """`row`: of the new model, whose archives lie in `model_store` under its endpoints' names."""

    torchserve: Management
    rows: RowStore
    row: ModelRow
    model_store: Path
    force: bool = False
    report: Callable[[str], object] = lambda _: None

    def run(self) -> None:
        """Nothing is served of a model that does not start. Raises BadModel, Conflict, TorchServeUnavailable."""
        check_new(self.rows, self.row)
        self._check_unregistered()
        archives = found_in(self.model_store, self.row)
        specs = of_one_model(archives)
        self._check_memory(archives)
        own: list[str] = []
        try:
            for endpoint, mar in archives.items():
                own.append(endpoint)
                self._start(endpoint, mar, specs[endpoint])
            self.rows.add(self.row)
        except (ClipServeError, KeyboardInterrupt) as error:
            self._undo(own[:-1] if isinstance(error, Conflict) else own)
            raise

    def _check_unregistered(self) -> None:
        taken = [endpoint for endpoint in by_kind(self.row).values() if self.torchserve.registered(endpoint)]
        if taken:
            raise Conflict(
                f"TorchServe has {', '.join(taken)} already, and {self.rows.path} has no such model: give the stack's "
                "--data-dir. What a killed command left is gone after a restart of the stack"
            )

    def _check_memory(self, archives: Mapping[str, Path]) -> None:
        needed, room = estimate(list(archives.values()), self._running()), available()
        self.report(
            f"{self.row.name} takes about {gigabytes(needed)} of memory in "
            f"{sum(map(worker_count, archives.values()))} workers; {gigabytes(room)} are available"
        )
        if not self.force:
            check_room(self.row.name, needed, room)

    def _running(self) -> list[RunningWorker]:
        """The workers that can be seen from here, with their archives in the same store."""
        found = []
        for row in self.rows.read():
            for endpoint, mar in found_in(self.model_store, row).items():
                sizes = [resident(pid) for pid in self.torchserve.worker_pids(endpoint)] if mar.exists() else []
                found += [RunningWorker(size, weights(mar)) for size in sizes if size]
        return found

    def _start(self, endpoint: str, mar: Path, spec: ModelSpec) -> None:
        self.report(f"starting {endpoint}")
        try:
            self.torchserve.register(endpoint, mar.name, worker_count(mar))
        except NotFound:
            raise not_the_store(self.model_store, f"TorchServe finds no {mar.name} in its own") from None
        self.torchserve.wait_ready(endpoint, self.torchserve.default_version(endpoint))
        for _ in range(_WARM_UP):
            self.torchserve.predict(endpoint, canary(spec.kind))

    def _undo(self, own: Sequence[str]) -> None:
        for endpoint in own:
            for version in self.torchserve.registered(endpoint):
                self.torchserve.unregister(endpoint, version)


def check_new(rows: RowStore, row: ModelRow) -> None:
    """Raises BadModel when a model of this name, or one of its endpoints, is served already."""
    for each in rows.read():
        if each.name == row.name:
            raise BadModel(
                f"a model named {row.name!r} is served already: name this one with --name, or replace that one with "
                f"`clipserve model swap --model {row.name}`"
            )
        if set(by_kind(each).values()) & set(by_kind(row).values()):
            raise BadModel(f"the endpoints of {row.name!r} are those of {each.name!r}: name this one with --name")
