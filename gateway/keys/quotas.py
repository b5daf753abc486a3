"""Limits a minute for each key, counted with the `limits` library: in memory, or in Redis for several replicas.

A sliding window of two counters: constant memory a key, no burst of twice the limit at a window's edge (which a fixed
window allows), and a cost for each hit, so that a request may spend many items. Redis that cannot be reached costs
accuracy and never an answer: each process then counts for itself until Redis is back.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Literal

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from clip_core.errors import RateLimited, TooLarge
from gateway.away import RETRY_S, AwayMemory
from gateway.keys.api_key import ApiKey, KeyLimits
from gateway.trace import current_trace

What = Literal["requests", "items", "megapixels"]
_UNITS: dict[What, int] = {"requests": 1, "items": 1, "megapixels": 1000}  # the library counts whole numbers
_REDIS_TIMEOUT_S = 0.25
_log = logging.getLogger("gateway.keys.quotas")


class Quotas:
    """`defaults` hold for keys that do not set their own; None anywhere means no limit.

    `on_alone` is told of each check that this process made by itself although it has `shared` counts, which are tried
    again `retry_s` after they failed.
    """

    def __init__(
        self,
        defaults: KeyLimits,
        shared: RedisCounts | None = None,
        *,
        on_alone: Callable[[], None] = lambda: None,
        retry_s: float = RETRY_S,
    ) -> None:
        self._on_alone, self._away = on_alone, AwayMemory(retry_s)
        self._defaults = defaults
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._counts = shared
        self._shared = SlidingWindowCounterRateLimiter(shared.storage) if shared is not None else None
        self._merged: dict[KeyLimits, KeyLimits] = {}  # as many as there are different limits

    async def close(self) -> None:
        """Let go of Redis."""
        if self._counts is not None:
            await self._counts.close()

    def limits_of(self, key: ApiKey) -> KeyLimits:
        """The key's own over the defaults."""
        merged = self._merged.get(key.limits)
        if merged is None:
            merged = self._merged[key.limits] = key.limits.over(self._defaults)
        return merged

    async def spend(self, key: ApiKey, what: What, amount: float) -> None:
        """Raises RateLimited when that is more than is left now, TooLarge when it is more than a whole minute has.

        What is left goes into the answer's X-RateLimit headers either way.
        """
        limit: int | None = getattr(self.limits_of(key), f"{what}_per_minute")
        if limit is None or amount <= 0:
            return
        if amount > limit:
            raise TooLarge(f"this call takes {amount:g} {what}, and this API key has {limit} a minute")
        taken, left, reset_s = await self._take(key, what, limit, math.ceil(amount * _UNITS[what]))
        _note(what, limit, left // _UNITS[what], reset_s)
        if not taken:
            raise RateLimited(f"this API key has used up its {limit} {what} a minute", retry_after=reset_s)

    async def give_back(self, key: ApiKey, what: What, amount: float) -> None:
        """What was spent a moment ago for nothing."""
        limit: int | None = getattr(self.limits_of(key), f"{what}_per_minute")
        if limit is not None and amount > 0:
            _, left, reset_s = await self._take(key, what, limit, -math.ceil(amount * _UNITS[what]))
            _note(what, limit, left // _UNITS[what], reset_s)

    async def _take(self, key: ApiKey, what: What, limit: int, cost: int) -> tuple[bool, int, float]:
        return await self._hit(RateLimitItemPerMinute(limit * _UNITS[what]), (key.id, what), cost)

    async def _hit(self, item: RateLimitItemPerMinute, names: tuple[str, str], cost: int) -> tuple[bool, int, float]:
        """Whether it was granted, what is left, and in how many seconds there is more."""
        if self._shared is not None and not self._away:
            try:
                return await _hit(self._shared, item, names, cost)
            except StorageError as error:
                self._away.note()
                _log.warning(
                    "Redis does not answer: limits are counted in this process", extra={"cause": str(error)[:200]}
                )
        if self._shared is not None:
            self._on_alone()
        return await _hit(self._own, item, names, cost)


class RedisCounts:
    """Where replicas count together: `redis://…` or `rediss://…`. Connects when it is first asked."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import ConnectionPool  # only where it is used: it takes a while to load
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        timeouts = {"socket_timeout": _REDIS_TIMEOUT_S, "socket_connect_timeout": _REDIS_TIMEOUT_S}
        once_more = Retry(NoBackoff(), 1)  # for a stale connection; the library would pause for seconds
        self._pool = ConnectionPool.from_url(url, retry=once_more, **timeouts)
        given: dict[str, Any] = {"implementation": "redispy", "wrap_exceptions": True, "connection_pool": self._pool}
        storage = storage_from_string(f"async+{url}", **given)
        assert isinstance(storage, Storage)
        self.storage: Storage = storage

    async def close(self) -> None:
        await self._pool.disconnect()


def check_redis_url(url: str) -> None:
    """Raises ValueError that says what is wrong with it, without its password; connects to nothing."""
    if not url:
        return
    try:
        RedisCounts(url)
    except Exception as error:  # of three libraries, each with its own
        raise ValueError("is no Redis URL: write redis://:PASSWORD@HOST:PORT/DB, special characters as %XX") from error


def counts_in(url: str) -> RedisCounts | None:
    """Nothing → None: each replica counts for itself."""
    return RedisCounts(url) if url else None


async def _hit(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItemPerMinute, names: tuple[str, str], cost: int
) -> tuple[bool, int, float]:
    taken = await limiter.hit(item, *names, cost=cost)
    stats = await limiter.get_window_stats(item, *names)
    return taken, stats.remaining, max(0.0, stats.reset_time - time.time())


def _note(what: What, limit: int, left: int, reset_s: float) -> None:
    """In the names of OpenAI's headers; the reset is in seconds."""
    name = what.capitalize()
    current_trace().headers.update(
        {
            f"X-RateLimit-Limit-{name}": str(limit),
            f"X-RateLimit-Remaining-{name}": str(left),
            f"X-RateLimit-Reset-{name}": str(math.ceil(reset_s)),
        }
    )
