"""A second level of the embedding cache in Redis, which all workers of a fleet share. It may be down at any time.

An entry's key names the epochs, one of all models and one of its own, beside the digest of content and model. Clearing
starts a new epoch: every worker that sees it drops what it holds itself, and what the old epoch left behind ages out of
Redis. Forgetting one vector adds
its key to a stream, which every worker reads on from where it was, so that it drops its own copy (Redis 6.2 or later).
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from clip_core.encode.circuit_breaker import CircuitBreaker
from clip_core.encode.embedding_cache import CacheStats, EmbeddingCache
from clip_core.encode.encoded import Encoded
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import Unavailable
from clip_core.settings import HandlerSettings

_PREFIX = b"clipserve:vectors:1:"
_EPOCH = _PREFIX + b"epoch"
_FORGOTTEN = _PREFIX + b"forgotten"  # a stream of the latest keys that were
_FORGOTTEN_KEPT = 1000
_HEAD = struct.Struct("<i?")  # tokens, -1 for none; truncated
_EPOCH_CHECK_S = 1.0
_Entry = tuple[bytes, dict[bytes, bytes]]  # of a Redis stream: its number and its fields
_Told = tuple[bytes, list[bytes | None], list[_Entry]]  # the epochs, what lies under the keys, what was forgotten


def pack(value: Encoded) -> bytes:
    tokens = -1 if value.tokens is None else value.tokens
    return _HEAD.pack(tokens, value.truncated) + value.vector.astype("<f4").tobytes()


def unpack(data: bytes, dim: int) -> Encoded | None:
    """None for anything but a unit vector of `dim` numbers: what lies in Redis is not ours alone."""
    if len(data) != _HEAD.size + 4 * dim:
        return None
    tokens, truncated = _HEAD.unpack_from(data)
    vector = np.frombuffer(data, "<f4", offset=_HEAD.size).astype(np.float32)
    if not np.abs(vector).max() < 1.001 or not abs(float(vector @ vector) - 1.0) < 1e-3:
        return None
    return Encoded(vector, None if tokens < 0 else tokens, truncated)


@dataclass(frozen=True)
class News:
    """What other workers did since the last look: forgot everything, or single keys."""

    cleared: bool = False
    forgotten: Set[bytes] = frozenset()


class SharedCache:
    """Never raises and never waits longer than the breaker's timeout: what can't be had is a miss."""

    def __init__(self, client: Any, dim: int, ttl_s: float, breaker: CircuitBreaker, model: str = "") -> None:
        """`model`: its fingerprint, by which it is cleared alone."""
        self._client, self._dim, self._ttl_ms, self._breaker = client, dim, int(ttl_s * 1000), breaker
        self._epochs = (_EPOCH, _EPOCH + b"/" + model.encode())
        self._epoch, self._read_to = _joined((None, None)), b"0-0"
        self.hits = 0

    @property
    def errors(self) -> int:
        return self._breaker.errors

    def get_many(self, keys: Sequence[bytes]) -> tuple[dict[bytes, Encoded], News]:
        """What is there of `keys`, and what has happened since the last look."""
        nothing: _Told = (self._epoch, [], [])
        epoch, found, forgotten = self._breaker.call(lambda: self._ask(keys), nothing)
        if epoch != self._epoch:
            self._epoch = epoch
            return {}, News(cleared=True)
        unpacked = {key: unpack(data, self._dim) for key, data in zip(keys, found, strict=False) if data}
        values = {key: value for key, value in unpacked.items() if value is not None}
        self.hits += len(values)
        return values, self._news(forgotten)

    def _ask(self, keys: Sequence[bytes]) -> _Told:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.mget([*self._epochs, *(_name(self._epoch, key) for key in keys)])
        pipeline.xrange(_FORGOTTEN, min=b"(" + self._read_to)
        (of_all, own, *values), forgotten = pipeline.execute()
        return _joined((of_all, own)), values, forgotten

    def _news(self, forgotten: Sequence[_Entry]) -> News:
        """A stream that was read from end to end may have lost its start: then everything is forgotten."""
        if not forgotten:
            return News()
        self._read_to = forgotten[-1][0]
        return News(cleared=len(forgotten) >= _FORGOTTEN_KEPT, forgotten=_keys(forgotten))

    def put_many(self, values: Mapping[bytes, Encoded]) -> None:
        """Sent without waiting; dropped when Redis is busy or down, or when it was forgotten since the last look.

        The last look came before the values were computed.
        """
        packed = {key: pack(value) for key, value in values.items()}
        epoch, read_to = self._epoch, self._read_to
        if packed:
            self._breaker.start(lambda: self._write(packed, epoch, read_to))

    def discard_many(self, keys: Sequence[bytes]) -> set[bytes] | None:
        """Those that Redis held; None when it does not say that they are gone."""
        return self._breaker.call(lambda: self._forget(keys), None, patient=True)

    def clear(self, *, own_model: bool) -> bool:
        """Begin a new epoch, of this model or of all; whether Redis did."""
        of_all, own = self._epochs
        return self._breaker.call(lambda: self._client.incr(own if own_model else of_all) > 0, False, patient=True)

    def _forget(self, keys: Sequence[bytes]) -> set[bytes] | None:
        """Their vectors go first, so that who hears of it does not find them again."""
        epoch = _joined(self._client.mget(self._epochs))
        pipeline = self._client.pipeline()
        for key in keys:
            pipeline.delete(_name(epoch, key))
        for key in keys:
            pipeline.xadd(_FORGOTTEN, {b"key": key}, maxlen=_FORGOTTEN_KEPT, approximate=False)
        gone = pipeline.execute()[: len(keys)]
        return {key for key, held in zip(keys, gone, strict=True) if held}

    def _write(self, packed: Mapping[bytes, bytes], epoch: bytes, read_to: bytes) -> None:
        """In one step with the look at what was forgotten, which a transaction that is watched is."""
        from redis import WatchError

        with self._client.pipeline() as pipeline, contextlib.suppress(WatchError):
            pipeline.watch(_FORGOTTEN)
            forgotten = _keys(pipeline.xrange(_FORGOTTEN, min=b"(" + read_to))
            pipeline.multi()
            for key in packed.keys() - forgotten:
                pipeline.set(_name(epoch, key), packed[key], px=self._ttl_ms)
            pipeline.execute()


def _joined(epochs: Iterable[bytes | None]) -> bytes:
    return b".".join(epoch or b"0" for epoch in epochs)


def _name(epoch: bytes, key: bytes) -> bytes:
    return _PREFIX + epoch + b":" + key


def _keys(forgotten: Sequence[_Entry]) -> set[bytes]:
    return {key for _, fields in forgotten for key in fields.values()}


class TieredCache(EmbeddingCache):
    """A worker's own cache in front of the shared one."""

    def __init__(
        self,
        shared: SharedCache,
        max_bytes: int,
        *,
        ttl_s: float = 0.0,
        policy: str = "lru",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_bytes, ttl_s=ttl_s, policy=policy, clock=clock)
        self.shared, self._checked_at = shared, clock()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Encoded]:
        """Redis is asked when something is missing here, and once a second whether the epoch is still the same."""
        hits = super().get_many(keys)
        missing = list(dict.fromkeys(key for key in keys if key not in hits))
        if not missing and self._clock() < self._checked_at + _EPOCH_CHECK_S:
            return hits
        self._checked_at = self._clock()
        found, news = self.shared.get_many(missing)
        if news.cleared:
            super().clear()
            return {}
        for key in news.forgotten:
            super().discard(key)
            hits.pop(key, None)
            found.pop(key, None)
        super().put_many(found)
        return hits | found

    def put_many(self, values: Mapping[bytes, Encoded]) -> None:
        super().put_many(values)
        self.shared.put_many(values)

    def discard(self, key: bytes) -> bool:
        return bool(self.discard_many([key]))

    def discard_many(self, keys: Sequence[bytes]) -> set[bytes]:
        own, shared = super().discard_many(keys), self.shared.discard_many(keys)
        if shared is None:
            raise _only_here("forgotten them")
        return own | shared

    def clear(self, *, own_model: bool = False) -> None:
        super().clear()
        if not self.shared.clear(own_model=own_model):
            raise _only_here("cleared its cache")

    @property
    def stats(self) -> CacheStats:
        own = super().stats
        return CacheStats(**{**vars(own), "shared_hits": self.shared.hits, "shared_errors": self.shared.errors})


def _only_here(done: str) -> Unavailable:
    return Unavailable(
        f"this worker has {done}, but Redis did not confirm it: Redis and other workers may go on with the "
        "old vectors. Send the request again"
    )


def from_settings(settings: HandlerSettings, config: EndpointConfig, dim: int, model: str = "") -> EmbeddingCache:
    """The cache that a worker serves with; `model` is a fingerprint.

    Raises ValueError when Redis is wanted and its client is not installed.
    """
    if not settings.cache:
        return EmbeddingCache(0)
    if not settings.cache_redis_url:
        return EmbeddingCache.from_config(config)
    client = _client(settings.cache_redis_url, settings.cache_redis_timeout_s)
    breaker = CircuitBreaker(settings.cache_redis_timeout_s)
    shared = SharedCache(client, dim, settings.cache_redis_ttl_s, breaker, model)
    return TieredCache(shared, config.cache_bytes, ttl_s=config.cache_ttl_s, policy=config.cache_policy)


def _client(url: str, timeout_s: float) -> Any:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    retry = Retry(NoBackoff(), 0)
    try:
        return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry)
    except (ValueError, TypeError):
        raise ValueError(
            "CLIPSERVE_HANDLER_CACHE_REDIS_URL is no Redis URL: "
            "write redis://:PASSWORD@HOST:PORT/DB, special characters as %XX"
        ) from None  # the library's message may hold a part of the password
