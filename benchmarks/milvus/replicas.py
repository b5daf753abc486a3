"""Two index services over one Milvus: what one acknowledged, a strong search of the other finds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.index.live import NAME, LiveIndex
from clip_core.wire import FloatArray, encode_vector

_CALLERS = 8  # each search waits for Milvus' clock most of the time


def missed(one: LiveIndex, other: LiveIndex, images: FloatArray, tries: int) -> int:
    """How many of so many writes are not found."""
    shares = [range(first, tries, _CALLERS) for first in range(_CALLERS)]
    with ThreadPoolExecutor(_CALLERS) as callers:
        return sum(callers.map(lambda share: _missed(one.again(), other.again(), images, share), shares))


def _missed(one: LiveIndex, other: LiveIndex, images: FloatArray, tries: range) -> int:
    lost = 0
    for n in tries:
        id_, vector = f"9{n:06}", images[n] + 0.05 * np.roll(images[n], 1)
        item = {"id": id_, "vector": encode_vector(vector / np.linalg.norm(vector)), "metadata": {"try": n}}
        one.call("POST", f"/collections/{NAME}/items", {"fingerprint": "bench", "items": [item]})
        _, found = other.search(np.array([vector]), consistency="strong", filter={"try": n})
        lost += found != [[int(id_)]]
        one, other = other, one
    return lost
