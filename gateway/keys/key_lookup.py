"""Which key a request came with: those of the environment, and of the key file or database, looked up in memory."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial

from clip_core.errors import DatabaseUnavailable, Unauthorized
from gateway.keys.api_key import ANONYMOUS, ApiKey
from gateway.keys.key_reader import Seen, in_thread, look_at
from gateway.keys.key_store import Keys, Version, digest, id_of, matches

_log = logging.getLogger("gateway.keys.api_key")
_NOBODY = (ApiKey("nobody"), bytes(32))
_REFRESH_S = 1.0
_PATIENCE_S = 2.0
_FIRST_S = 10.0  # before the gateway serves anybody
_SLOW_S = 10.0
_UNREAD = (-1, -1, -1)


class KeyLookup:
    """Keys of the environment have every scope. After `await refresh()` the file's are those of the last second.

    Where there was a key file once, a key is needed: a file that is gone, empty or unreadable admits nobody.
    """

    def __init__(
        self,
        keys: Sequence[str] = (),
        store: Keys | None = None,
        *,
        enforced: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`enforced`: keys are asked for even while there are none, because others than this machine can call."""
        self._given = [(ApiKey(f"environment-{place}"), digest(key)) for place, key in enumerate(keys)]
        self._store = store
        self._enforced = enforced
        self._clock = clock
        self._kept: dict[str, tuple[ApiKey, bytes]] = {}
        self._version: Version = _UNREAD
        self._reading: Future[Seen] | None = None
        self._begun, self._read, self._away = False, False, False
        self._failure = ""
        self._checked = -math.inf

    def __bool__(self) -> bool:
        """Whether a key is needed. Keys that are all revoked still say yes, and so do those that were never read."""
        self._begin()
        return self._enforced or bool(self._given) or (self._store is not None and not self._read)

    def identify(self, presented: str) -> ApiKey:
        """Raises Unauthorized for a key that is unknown, expired or revoked; DatabaseUnavailable where nobody knows."""
        self._begin()
        kept, kept_digest = self._kept.get(id_of(presented), _NOBODY)
        found = [key for key, known in self._given if matches(presented, known)]
        if matches(presented, kept_digest):
            found.append(kept)
        if not found:
            self._check_known(self._away and not self._read)
            raise Unauthorized("this API key is not accepted")
        return _active(found[0], "this API key")

    async def find(self, key_id: str | None) -> ApiKey:
        """The key as it is now, for work that outlives its request; None is a call without a key.

        Raises Unauthorized for one that is gone, expired or revoked; DatabaseUnavailable where nobody knows.
        """
        await self.refresh()
        if key_id is None:
            return ANONYMOUS
        if not self._with_id(key_id):
            await self.refresh(anew=True)  # another gateway may have known it a moment earlier
        found = self._with_id(key_id)
        if not found:
            self._check_known(self._away)
            raise Unauthorized(f"the API key {key_id} is not accepted any more")
        return _active(found[0], f"the API key {key_id}")

    def _with_id(self, key_id: str) -> list[ApiKey]:
        kept = self._kept.get(key_id)
        return [key for key, _ in self._given if key.id == key_id] + ([kept[0]] if kept else [])

    @staticmethod
    def _check_known(unknown: bool) -> None:
        """Raises DatabaseUnavailable where nobody can know."""
        if unknown:
            raise DatabaseUnavailable("API keys can't be checked yet: the gateways' database does not answer")

    def next_expiry(self) -> float | None:
        """When the first of the file's active keys expires, in seconds since 1970; None where none does."""
        active = [key for key, _ in self._kept.values() if key.state() == "active"]
        return min((key.expires for key in active if key.expires is not None), default=None)

    async def refresh(self, *, anew: bool = False) -> None:
        """Look at the file before the next answer, where the last look is older than a second, or in any case `anew`.

        All callers share one look, and wait for it at most `_PATIENCE_S` after it began: while a slow disk does not
        answer, the keys read before stay in force. A database that did not answer is asked without waiting for it.
        """
        if self._store is None:
            return
        self._begin()
        self._take_what_was_read(self._store)
        if anew:
            await self._wait(self._store, _PATIENCE_S)  # for a look that began before
            self._checked = -math.inf if self._reading is None else self._checked
        self._look_if_due(self._store)
        if anew or not self._away:
            await self._wait(self._store, self._checked + _PATIENCE_S - self._clock())

    async def _wait(self, store: Keys, left_s: float) -> None:
        if self._reading is not None and left_s > 0:
            await asyncio.wait([asyncio.wrap_future(self._reading)], timeout=left_s)
            self._take_what_was_read(store)

    def _begin(self) -> None:
        """The first look, which is waited for: it is before the gateway serves anybody."""
        if self._store is None or self._begun:
            return
        self._begun = True
        self._look_if_due(self._store)
        assert self._reading is not None
        wait([self._reading], _FIRST_S)
        self._take_what_was_read(self._store)
        if self._reading is not None:
            self._enforced = True
            self._tell_of_failure("reading it does not end")

    def _look_if_due(self, store: Keys) -> None:
        """In a thread, since a file may block for good (a network's folder)."""
        now = self._clock()
        age_s = now - self._checked
        if self._reading is None and age_s >= _REFRESH_S:
            self._checked = now
            self._reading = in_thread(partial(look_at, store, self._version, self._enforced))
        elif self._reading is not None and age_s >= _SLOW_S:
            self._tell_of_failure("reading it does not end")

    def _take_what_was_read(self, store: Keys) -> None:
        if self._reading is not None and self._reading.done():
            self._take(store, self._reading.result())

    def _take(self, store: Keys, seen: Seen) -> None:
        self._reading, self._away = None, seen.away
        self._enforced = self._enforced or seen.required
        if seen.failure:
            self._tell_of_failure(seen.failure)
        elif seen.keys is not None:
            self._kept, self._version, self._failure, self._read = seen.keys, seen.version, "", True
            self._tell_of_none(store)

    def _tell_of_none(self, store: Keys) -> None:
        if self._enforced and not self._kept and not self._given:
            _log.error(
                "no API key is accepted: the key file or database is gone or holds none", extra={"place": store.place}
            )

    def _tell_of_failure(self, cause: str) -> None:
        if cause != self._failure:
            self._failure = cause
            _log.error("the keys cannot be read; those read before stay in force", extra={"cause": cause})


def _active(key: ApiKey, name: str) -> ApiKey:
    state = key.state()
    if state != "active":
        raise Unauthorized(f"{name} is {state}")
    return key
