"""The head that a model's loss trained, as its weights hold it: what makes logits of cosines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class TrainedHead:
    """logits = logit_scale · cosine + logit_bias: a softmax over them without a bias, a sigmoid of each with one.

    Sources: CLIP (Radford et al., 2021, figure 3) and SigLIP (Zhai et al., 2023, algorithm 1).
    """

    logit_scale: float | None = None
    logit_bias: float | None = None

    @classmethod
    def of(cls, model: Any, state: Mapping[str, Tensor]) -> TrainedHead:
        """`model` has the weights of `state`. Empty where these numbers are not finite, or the scale is 0.

        Whether there is a bias, the weights say, not the architecture: `open_clip_train --siglip` adds one to any, and
        where only the architecture has one, open_clip fills in a zero.
        """
        bias = state.get("logit_bias")
        numbers = [float(model.logit_scale.double().exp())]
        numbers += [float(bias.detach())] if bias is not None and bias.numel() == 1 else []
        return cls(*numbers) if numbers[0] > 0 and all(map(math.isfinite, numbers)) else cls()
