"""Which key a request came with: those of the environment and those of the key file, looked up in memory."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence

from clip_core.errors import Unauthorized
from gateway.key_store import KeyStore, digest, id_of, matches
from gateway.keys import ANONYMOUS, ApiKey

_log = logging.getLogger("gateway.keys")
_NOBODY = (ApiKey("nobody"), bytes(32))
_REFRESH_S = 1.0
_UNREAD = (-1, -1, -1)


class KeyRing:
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
    ) -> None:
        """`enforced`: keys are asked for even while there are none, because others than this machine can call."""
        self._given = [(ApiKey(f"environment-{place}"), digest(key)) for place, key in enumerate(keys)]
        self._store = store
        self._enforced = enforced
        self._clock = clock
        self._kept: dict[str, tuple[ApiKey, bytes]] = {}
        self._version: tuple[int, int, int] | None = _UNREAD
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
        now = self._clock()
        if self._store is None or now - self._checked < _REFRESH_S:
            return
        self._checked = now
        version = self._store.version()
        if version == self._version:
            return
        self._remember(self._store)
        try:
            self._kept = {key.id: (key, kept) for key, kept in self._store.all()}
            self._version, self._failure = version, ""
            self._tell_of_none(self._store)
        except (sqlite3.Error, OSError) as error:  # being written, or damaged: what was read before stays in force
            self._tell_of_failure(str(error))

    def _remember(self, store: KeyStore) -> None:
        if not self._enforced and store.is_required():
            self._enforced = True
        if self._enforced and os.path.exists(store.path):
            with contextlib.suppress(OSError):  # a folder that may only be read
                store.require()

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
