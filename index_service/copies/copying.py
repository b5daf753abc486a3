"""Items copied from one collection to another one of the same model: vectors are not computed again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clip_core.errors import BadInput, Conflict, FingerprintMismatch
from index_service.collection.stored import StoredCollection

_AT_ONCE = 1000  # items held


def check_alike(source: StoredCollection, target: StoredCollection) -> None:
    """Raises FingerprintMismatch, Conflict or BadInput unless vectors of `source` make sense in `target`."""
    one, other = source.info, target.info
    if source is target:
        raise BadInput("the items are in this collection already", param="from")
    if (one.fingerprint, one.dim) != (other.fingerprint, other.dim):
        raise FingerprintMismatch(
            f"the collection {one.name} holds vectors of {one.model} ({one.fingerprint}), "
            f"{other.name} of {other.model} ({other.fingerprint})",
            param="from",
        )
    if one.metric != other.metric:
        message = f"the collection {one.name} has the metric {one.metric}, {other.name} has {other.metric}"
        raise Conflict(message, param="from")


def copy_items(source: StoredCollection, target: StoredCollection, ids: Sequence[str]) -> set[str]:
    """Add or replace those of `ids` that there are, some at a time; which these were. They are on disk on return."""
    copied: set[str] = set()
    for start in range(0, len(ids), _AT_ONCE):
        items = source.items(ids[start : start + _AT_ONCE])
        raw = b"".join(item.vector for item in items)
        target.upsert(items, np.frombuffer(raw, "<f4").reshape(len(items), source.info.dim))
        copied.update(item.id for item in items)
    return copied
