"""Which key a request came with: those of the environment and those of the key file, looked up in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial

from clip_core.errors import Unauthorized
from gateway.keys.api_key import ANONYMOUS, ApiKey
from gateway.keys.key_reader import Seen, Version, in_thread, look_at
from gateway.keys.key_store import KeyStore, digest, id_of, matches

_log = logging.getLogger("gateway.keys.api_key")
_NOBODY = (ApiKey("nobody"), bytes(32))
_REFRESH_S = 1.0
_FIRST_S = 10.0  # before the gateway serves anybody
_SLOW_S = 10.0
_UNREAD = (-1, -1, -1)


class KeyLookup:
    """Keys of the environment have every scope. The file is read again within a second of a change to it.

    Where there was a key file once, a key is needed: a file that is gone, empty or unreadable admits nobody.
    """

    def __init__(
        self,
        keys: Sequence[str] = (),
        store: KeyStore | None = None,
        *,
        enforced: bool = False,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = 0.0,
    ) -> None:
        """`enforced`: keys are asked for even while there are none, because others than this machine can call.

        `patience_s`: how long a call waits when it begins to read the file again.
        """
        self._given = [(ApiKey(f"environment-{place}"), digest(key)) for place, key in enumerate(keys)]
        self._store = store
        self._enforced = enforced
        self._clock = clock
        self._kept: dict[str, tuple[ApiKey, bytes]] = {}
        self._version: Version = _UNREAD
        self._patience_s = patience_s
        self._reading: Future[Seen] | None = None
        self._begun = False
        self._failure = ""
        self._checked = -_REFRESH_S

    def __bool__(self) -> bool:
        """Whether a key is needed. A file whose keys are all revoked still says yes."""
        self._refresh()
        return self._enforced or bool(self._given)

    def identify(self, presented: str) -> ApiKey:
        """Raises Unauthorized for a key that is unknown, expired or revoked."""
        self._refresh()
        kept, kept_digest = self._kept.get(id_of(presented), _NOBODY)
        found = [key for key, known in self._given if matches(presented, known)]
        if matches(presented, kept_digest):
            found.append(kept)
        if not found:
            raise Unauthorized("this API key is not accepted")
        return _active(found[0], "this API key")

    def find(self, key_id: str | None) -> ApiKey:
        """The key as it is now, for work that outlives its request; None is a call without a key.

        Raises Unauthorized for one that is gone, expired or revoked.
        """
        self._refresh()
        if key_id is None:
            return ANONYMOUS
        kept = self._kept.get(key_id)
        found = [key for key, _ in self._given if key.id == key_id] + ([kept[0]] if kept else [])
        if not found:
            raise Unauthorized(f"the API key {key_id} is not accepted any more")
        return _active(found[0], f"the API key {key_id}")

    def _refresh(self) -> None:
        if self._store is None:
            return
        if self._reading is not None and self._reading.done():
            self._take(self._store, self._reading.result())
        now = self._clock()
        if now - self._checked >= _REFRESH_S:
            self._look(self._store, now)

    def _look(self, store: KeyStore, now: float) -> None:
        """Reads in a thread, since a file may block for good (a network's folder); nobody waits but for the first."""
        if self._reading is not None:
            if now - self._checked >= _SLOW_S:
                self._tell_of_failure("reading it does not end")
            return
        first, self._begun, self._checked = not self._begun, True, now
        self._reading = in_thread(partial(look_at, store, self._version, self._enforced))
        wait([self._reading], _FIRST_S if first else self._patience_s)
        if self._reading.done():
            self._take(store, self._reading.result())
        elif first:
            self._enforced = True
            self._tell_of_failure("reading it does not end")

    def _take(self, store: KeyStore, seen: Seen) -> None:
        self._reading = None
        self._enforced = self._enforced or seen.required
        if seen.failure:
            self._tell_of_failure(seen.failure)
        elif seen.keys is not None:
            self._kept, self._version, self._failure = seen.keys, seen.version, ""
            self._tell_of_none(store)

    def _tell_of_none(self, store: KeyStore) -> None:
        if self._enforced and not self._kept and not self._given:
            _log.error("no API key is accepted: the key file is gone or holds none", extra={"file": str(store.path)})

    def _tell_of_failure(self, cause: str) -> None:
        if cause != self._failure:
            self._failure = cause
            _log.error("the key file cannot be read; the keys read before stay in force", extra={"cause": cause})


def _active(key: ApiKey, name: str) -> ApiKey:
    state = key.state()
    if state != "active":
        raise Unauthorized(f"{name} is {state}")
    return key
