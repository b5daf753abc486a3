"""The numeric variants of a tower. Only weights are cast (never CPU autocast); what comes out is float32 again."""

from __future__ import annotations

import torch
from torch import nn

from clip_core.errors import BadModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def cast(module: nn.Module, precision: str) -> torch.dtype:
    """Cast `module` in place and return the type that its inputs need. Raises BadModel for an unknown precision."""
    if precision not in DTYPES:
        raise BadModel(f"precision is one of {', '.join(DTYPES)}, not {precision!r}")
    module.to(DTYPES[precision])
    return DTYPES[precision]
