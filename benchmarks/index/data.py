"""CLIP-like vectors by a seeded generator: clustered images, and text queries out of their distribution.

The shape follows what is known of CLIP's space: all images share a mean direction and all texts another one, with a
small cosine between both (the modality gap, Liang et al., arXiv:2203.02053); energy decays over the dimensions; a
text agrees with its image by a cosine near 0.3 while others lie around 0.17 ± 0.03.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clip_core.wire import FloatArray

DIM, _CHUNK = 512, 50_000
_MEAN = 0.7  # cosine of an image, or a text, and its modality's mean
_MEANS_COSINE = 0.3
_AGREEMENT = 0.45  # correlation of a text and its image once the means are taken off
_DECAY = 0.35  # standard deviation of dimension j, in a rotated frame: (j + 10) ** -decay
_CLUSTER_ROWS, _CLUSTER_SHARE = 250, 0.6  # images of a cluster, and its share of an image's own variance


@dataclass(frozen=True)
class Space:
    """The frame that images and texts share: both means, both (D,), and deviations mapped by `basis` (D, D)."""

    image_mean: FloatArray
    text_mean: FloatArray
    basis: FloatArray

    def deviations(self, rng: np.random.Generator, count: int) -> FloatArray:
        """(count, D), of norm 1 on average, across the means."""
        drawn = rng.standard_normal((count, self.basis.shape[0]), np.float32)
        return drawn @ self.basis


def space(rng: np.random.Generator, dim: int) -> Space:
    """A random frame; the first two axes carry the means, the others decaying energy."""
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    spread = (np.arange(dim - 2) + 10.0) ** -_DECAY
    basis = (spread / np.linalg.norm(spread)).astype(np.float32)[:, None] * rotation[2:]
    text = _MEANS_COSINE * rotation[0] + np.sqrt(1 - _MEANS_COSINE**2) * rotation[1]
    return Space(rotation[0], text.astype(np.float32), basis)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """(N, D), each row divided by its norm, in place."""
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def make(rows: int, queries: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Images (rows, D) and text queries (queries, D), float32 and unit norm."""
    rng = np.random.default_rng(seed)
    frame = space(rng, DIM)
    centres = frame.deviations(rng, max(rows // _CLUSTER_ROWS, 1)) * np.float32(np.sqrt(_CLUSTER_SHARE))
    images = np.empty((rows, DIM), np.float32)
    own = np.float32(np.sqrt(1 - _MEAN**2))
    for start in range(0, rows, _CHUNK):
        part = images[start : start + _CHUNK]
        members = centres[rng.integers(len(centres), size=len(part))]
        part[:] = members + frame.deviations(rng, len(part)) * np.float32(np.sqrt(1 - _CLUSTER_SHARE))
        part *= own
        part += _MEAN * frame.image_mean
        unit_rows(part)
    return images, _texts(rng, frame, images, queries)


def _texts(rng: np.random.Generator, frame: Space, images: FloatArray, count: int) -> FloatArray:
    """Each describes a random image: its deviation, other noise, and the mean of texts."""
    described = images[rng.integers(len(images), size=count)]
    meant = unit_rows(described - (described @ frame.image_mean)[:, None] * frame.image_mean)
    noise = frame.deviations(rng, count)
    texts = np.float32(_AGREEMENT) * meant + np.float32(np.sqrt(1 - _AGREEMENT**2)) * noise
    return unit_rows(np.float32(np.sqrt(1 - _MEAN**2)) * texts + np.float32(_MEAN) * frame.text_mean)
