"""Where a worker computes: the GPU that TorchServe gave it, or the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable

from torch import Tensor

from clip_core.networks.precision import unavailable

log = logging.getLogger("clipserve.devices")


def serving_device(gpu_id: int | None, precision: str, why_not: Callable[[str, str], str | None] = unavailable) -> str:
    """`cuda:<gpu_id>` where torch can use it and `precision` runs on it, else `cpu`, with the reason in the log.

    `gpu_id` is TorchServe's `system_properties["gpu_id"]`: None on a machine without GPUs, -1 from some releases.
    """
    if gpu_id is None or gpu_id < 0:
        return "cpu"
    device = f"cuda:{gpu_id}"
    reason = why_not(precision, device)
    if reason is None:
        return device
    log.warning("serving on the CPU, not on the GPU", extra={"device": device, "reason": reason})
    return "cpu"


def move(batch: Tensor, device: str) -> Tensor:
    """To a GPU from pinned memory, so that the copy is queued and the host goes on."""
    if not device.startswith("cuda"):
        return batch
    return batch.pin_memory().to(device, non_blocking=True)
