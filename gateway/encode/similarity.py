"""Cosines → a ranking with probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_core.wire import FloatArray


def ranking(scores: FloatArray, logit_scale: float) -> list[dict[str, Any]]:
    """(N,) cosines → {"index", "probability", "score"}, most probable first; the probabilities add up to 1.

    The softmax of the scaled cosines, as CLIP is trained with; 100 is the scale that it ends at.
    """
    logits = scores.astype(np.float64) * logit_scale
    weights = np.exp(logits - logits.max())
    probabilities = weights / weights.sum()
    return [
        {"index": int(i), "probability": float(probabilities[i]), "score": float(scores[i])}
        for i in np.argsort(-probabilities, kind="stable")
    ]
