"""Making a tower ready for its first request. Warm-up only for now: no request pays for lazy initialisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_BATCHES = (1, 2, 8)


def warm_up(forward: Callable[[Tensor], Tensor], example: Tensor) -> None:
    """Run `forward` on the batch sizes that take different kernels. `example`: one item, shape (1, …)."""
    with torch.inference_mode():
        for batch in WARM_BATCHES:
            forward(example.expand(batch, *example.shape[1:]).contiguous())
