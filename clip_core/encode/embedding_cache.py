"""Vectors that a worker has computed before, each under a digest of its input and of the model that made it.

A TorchServe worker is one process that handles one batch at a time, and each has its own cache: it needs no lock, and
equal inputs that arrive together meet in their batch, those that follow meet here.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cachetools import Cache, LFUCache, LRUCache

from clip_core.encode.encoded import Encoded
from clip_core.endpoint_config import EndpointConfig
from clip_core.inputs.request import Part
from clip_core.model_spec import ModelSpec

_OVERHEAD = 1024  # bytes of an entry beside its numbers: key, array header, and its places in cachetools' dicts
_NEVER = float("inf")


@dataclass(frozen=True)
class CacheStats:
    """Counts since the start (`hits` and `misses` are of parts, one for each look-up) and what is held now."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    expired: int = 0
    entries: int = 0
    bytes: int = 0
    shared_hits: int = 0  # of the misses here, those that a second level had
    shared_errors: int = 0


class _Entry(NamedTuple):
    value: Encoded
    deadline: float


def _size(entry: _Entry) -> int:
    return int(entry.value.vector.nbytes) + _OVERHEAD


_POLICIES: dict[str, type[Cache[bytes, _Entry]]] = {"lru": LRUCache, "lfu": LFUCache}


def content_key(part: Part, spec: ModelSpec, variant: str = "") -> bytes:
    """32 bytes that name a part's vector: kind and content as given, weights and preprocessing, precision, cut.

    A changed model has another fingerprint, so its vectors never meet those of the last; `variant` names what else of
    an endpoint changes them.

    The fields are length-prefixed, so that no two lists of them share a digest. A part's weight and its request's
    `truncate` change no vector, so they are left out.
    """
    content = part.value.encode("utf-8", "surrogatepass") if isinstance(part.value, str) else bytes(part.value)
    model = (spec.fingerprint, spec.precision, str(spec.context_length), part.kind, variant)
    hasher = hashlib.blake2b(digest_size=32)
    for field in (*(text.encode() for text in model), content):
        hasher.update(len(field).to_bytes(8, "little"))
        hasher.update(field)
    return hasher.digest()


class EmbeddingCache:
    """At most `max_bytes` of vectors, none older than `ttl_s` seconds; 0 bytes keep nothing, 0 seconds never end."""

    def __init__(
        self,
        max_bytes: int,
        *,
        ttl_s: float = 0.0,
        policy: str = "lru",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries = _POLICIES[policy](max_bytes, getsizeof=_size)
        self._ttl_s, self._clock = ttl_s, clock
        self._hits = self._misses = self._evictions = self._expired = 0

    @classmethod
    def from_config(cls, config: EndpointConfig) -> EmbeddingCache:
        return cls(config.cache_bytes, ttl_s=config.cache_ttl_s, policy=config.cache_policy)

    def get(self, key: bytes) -> Encoded | None:
        self._expire()
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        return entry.value

    def put(self, key: bytes, value: Encoded) -> None:
        """Keep `value`, whose array becomes read-only because every later hit shares it."""
        self._expire()
        self._entries.pop(key, None)
        entry = _Entry(value, self._clock() + self._ttl_s if self._ttl_s else _NEVER)
        if _size(entry) > self._entries.maxsize:
            return
        value.vector.setflags(write=False)
        before = len(self._entries)
        self._entries[key] = entry
        self._evictions += before + 1 - len(self._entries)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Encoded]:
        """What is held of `keys`; each counts as one look-up."""
        return {key: hit for key in keys if (hit := self.get(key)) is not None}

    def put_many(self, values: Mapping[bytes, Encoded]) -> None:
        for key, value in values.items():
            self.put(key, value)

    def discard(self, key: bytes) -> bool:
        """Forget one vector; whether it was held."""
        return self._entries.pop(key, None) is not None

    def discard_many(self, keys: Sequence[bytes]) -> set[bytes]:
        """Forget vectors; those that were held. Raises Unavailable when one may still be held by others."""
        return {key for key in keys if EmbeddingCache.discard(self, key)}

    def clear(self, *, own_model: bool = False) -> None:  # noqa: ARG002  (a worker holds vectors of one model)
        """Forget every vector; the counts go on. `own_model`: others forget those of this model only.

        Raises Unavailable when others may still hold some.
        """
        self._entries.clear()

    @property
    def stats(self) -> CacheStats:
        self._expire()
        entries, size = len(self._entries), int(self._entries.currsize)
        return CacheStats(self._hits, self._misses, self._evictions, self._expired, entries, size)

    def _expire(self) -> None:
        """Entries are iterated in the order they were put, so the first that is young enough ends the search."""
        if not self._ttl_s:
            return
        now = self._clock()
        old = list(itertools.takewhile(lambda key: self._peek(key).deadline <= now, self._entries))
        for key in old:
            del self._entries[key]
        self._expired += len(old)

    def _peek(self, key: bytes) -> _Entry:
        """An entry without counting as a use of it, as cachetools itself looks at what it evicts."""
        return Cache.__getitem__(self._entries, key)
