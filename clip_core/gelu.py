"""GELU without the library's erf, which is slow in a vector loop: by a power of a polynomial, exact to 2e-6."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# erf(z) = 1 - 1 / (1 + a1·z + … + a6·z⁶)¹⁶ + e, |e| ≤ 3e-7, z ≥ 0: Abramowitz & Stegun, 7.1.28; here z = |x| / √2.
_ERF = (0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638)
_COEFFICIENTS = tuple(a * 2 ** (-(i + 1) / 2) for i, a in enumerate(_ERF))


class FastGelu(nn.Module):
    """(…) → (…), x·Φ(x) in float32: max(x, 0) - |x| / 2 · (1 - erf(|x| / √2))."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        size = x.abs()
        tail = torch.zeros_like(x)
        for coefficient in reversed(_COEFFICIENTS):
            tail = (tail + coefficient) * size
        tail = (tail + 1).reciprocal()
        for _ in range(4):
            tail = tail * tail
        return x.clamp(min=0) - 0.5 * size * tail
