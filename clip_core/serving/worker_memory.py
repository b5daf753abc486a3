"""Whose a worker's memory is, as it reports it: the libraries', the towers', the cache's; its GPU's, and the JVM's."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from clip_core.encode.encoders import Encoders
from clip_core.memory_use import resident_bytes
from clip_core.serving.metrics import WorkerMetrics

INTERVAL_S = 10.0


class WorkerMemory:
    """Made before the model is loaded: what there is by then is the libraries'."""

    def __init__(self) -> None:
        self._libraries = resident_bytes()
        self._towers = 0

    def loaded(self) -> None:
        """The model is there and warm: what came since is the towers', weights and what runs them."""
        self._towers = max(0, resident_bytes() - self._libraries)

    def show(self, metrics: WorkerMetrics, worker: str, cache_bytes: int, device: str) -> None:
        all_bytes = resident_bytes()
        rest = max(0, all_bytes - self._libraries - self._towers - cache_bytes)
        owners = {"libraries": self._libraries, "towers": self._towers, "cache": cache_bytes, "rest": rest}
        for owner, size in owners.items():
            metrics.set("clipserve_memory_bytes", size, worker, owner)
        if jvm := jvm_bytes():
            metrics.set("clipserve_jvm_memory_bytes", jvm)
        for state, size in gpu_memory(device).items():
            metrics.set("clipserve_gpu_memory_bytes", size, worker, state)


def jvm_bytes(parent: int | None = None) -> int:
    """Resident bytes of TorchServe's frontend, which started this worker; 0 where something else did."""
    parent = os.getppid() if parent is None else parent
    with suppress(OSError):
        if Path(f"/proc/{parent}/comm").read_text(encoding="utf-8").strip() == "java":
            return resident_bytes(parent)
    return 0


def device_of(encoders: Encoders) -> str:
    """Where its towers are: `cpu`, or `cuda:0` and so on."""
    tower = encoders.text or encoders.image
    return "cpu" if tower is None else tower.device


def gpu_memory(device: str) -> dict[str, int]:
    """Bytes of the whole GPU: this worker's `own`, `others`', and `free`; nothing where it serves on the CPU."""
    if not device.startswith("cuda"):
        return {}
    import torch

    free, total = torch.cuda.mem_get_info(device)
    own = torch.cuda.memory_reserved(device)
    return {"own": own, "others": max(0, total - free - own), "free": free}
