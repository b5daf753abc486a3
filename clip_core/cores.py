"""How many cores and threads a process may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def share(cores: int, workers: Any) -> int:
    """The threads of each of `workers` processes that share `cores`; one at least."""
    return max(1, cores // workers) if type(workers) is int and workers > 0 else cores


def available_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The number of cores this process may use: its affinity, and its container's quota (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or the quota is "max"
        return cores
