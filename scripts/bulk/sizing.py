"""How many processes a run has, and how many threads each: as the command says, else by what the machines have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_CORES = 4  # of a process without a GPU


class RayNode(NamedTuple):
    """What Ray may use of a machine."""

    cores: int
    gpus: float


class Size(NamedTuple):
    """`threads`: of each process. `fits`: whether one of the machines has room for a process."""

    processes: int
    threads: int
    fits: bool


def sized(nodes: Sequence[RayNode], processes: int | None, threads: int | None, gpus: float) -> Size:
    """`gpus`: of a process. What is None is chosen, so that all machines are busy."""
    usable = [node for node in nodes if node.cores >= 1 and node.gpus >= gpus]
    if threads is None:
        threads = _threads(usable, processes, gpus)
    room = sum(_room(node, threads, gpus) for node in usable)
    return Size(processes or max(room, 1), threads, room > 0)


def _threads(nodes: Sequence[RayNode], processes: int | None, gpus: float) -> int:
    if processes is None:
        return min((node.cores // _most(node, gpus) for node in nodes), default=_CORES)
    share = sum(node.cores for node in nodes) // processes
    return max(1, min(share, max((node.cores for node in nodes), default=_CORES)))


def _most(node: RayNode, gpus: float) -> int:
    """Processes that one machine is for."""
    most = int(node.gpus / gpus) if gpus else node.cores // _CORES
    return max(1, min(most, node.cores))


def _room(node: RayNode, threads: int, gpus: float) -> int:
    of_cores = node.cores // threads
    return min(of_cores, int(node.gpus / gpus)) if gpus else of_cores
