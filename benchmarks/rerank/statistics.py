"""Shares, and how far a paired difference may be chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS, SEED = 10_000, 5
_AT_ONCE = 500


def share(right: Sequence[bool]) -> float:
    return float(np.mean(right)) if len(right) else 0.0


def paired(one: Sequence[bool], other: Sequence[bool]) -> tuple[float, float, float]:
    """one − other over the same queries, and the bounds of its 95 % interval: a paired bootstrap of queries."""
    differences = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    rng, means = np.random.default_rng(SEED), []
    for _ in range(DRAWS // _AT_ONCE):
        drawn = rng.integers(0, len(differences), (_AT_ONCE, len(differences)))
        means.append(differences[drawn].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)
