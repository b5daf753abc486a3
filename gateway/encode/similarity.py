"""Cosines → probabilities, as the model's own head or the caller's makes them, and a ranking by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_core.wire import FloatArray
from gateway.encode.served_model import ServedModel
from gateway.schemas.ranking import Activation

Numbers: TypeAlias = NDArray[np.float64]
_USUAL_SCALE = 100.0  # at which CLIP's training ends


@dataclass(frozen=True)
class Head:
    """logits = logit_scale · cosine + logit_bias. With a bias each has a sigmoid, without one all share a softmax.

    Sources: CLIP (Radford et al., 2021, figure 3) and SigLIP (Zhai et al., 2023, algorithm 1).
    """

    logit_scale: float = _USUAL_SCALE
    logit_bias: float | None = None

    @classmethod
    def of(cls, served: ServedModel, logit_scale: float | None = None) -> Head:
        """The model's own; of archives that tell none the usual one. A `logit_scale` given is that of a softmax."""
        if logit_scale is not None:
            return cls(logit_scale)
        return cls() if served.logit_scale is None else cls(served.logit_scale, served.logit_bias)

    @property
    def activation(self) -> Activation:
        return "softmax" if self.logit_bias is None else "sigmoid"

    def probabilities(self, scores: FloatArray) -> Numbers:
        """(N,) cosines → (N,) in the same order."""
        logits = scores.astype(np.float64) * self.logit_scale
        return _softmax(logits) if self.logit_bias is None else _sigmoid(logits + self.logit_bias)


def _softmax(logits: Numbers) -> Numbers:
    weights: Numbers = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights


def _sigmoid(logits: Numbers) -> Numbers:
    """Exact also where it is nearly 0, and without an overflow."""
    numbers: Numbers = np.exp(-np.logaddexp(0.0, -logits))
    return numbers


def ranking(scores: FloatArray, head: Head) -> list[dict[str, Any]]:
    """(N,) cosines → {"index", "probability", "score"}, most probable first."""
    probabilities = head.probabilities(scores)
    return [
        {"index": int(i), "probability": float(probabilities[i]), "score": float(scores[i])}
        for i in np.argsort(-scores, kind="stable")
    ]
