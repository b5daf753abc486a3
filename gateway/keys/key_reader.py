"""One look at the key file, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import TypeAlias

from gateway.keys.api_key import ApiKey
from gateway.keys.key_store import KeyStore

Version: TypeAlias = tuple[int, int, int] | None


@dataclass(frozen=True)
class Seen:
    """`keys` by their ids, with digests; None where nothing has changed, or where `failure` says why not."""

    required: bool = False
    version: Version = None
    keys: dict[str, tuple[ApiKey, bytes]] | None = None
    failure: str = ""


def look_at(store: KeyStore, known: Version, enforced: bool) -> Seen:
    """`known`: the version that was read last. Leaves the mark that keys are needed, where they are."""
    version = store.version()
    if version == known:
        return Seen()
    required = store.is_required()
    if (enforced or required) and os.path.exists(store.path):
        with contextlib.suppress(OSError):  # a folder that may only be read
            store.require()
    try:
        return Seen(required, version, {key.id: (key, kept) for key, kept in store.all()})
    except (sqlite3.Error, OSError) as error:  # being written, or damaged
        return Seen(required, failure=str(error))


def in_thread(work: Callable[[], Seen]) -> Future[Seen]:
    """The thread keeps nobody from leaving: an executor's threads are waited for at the end."""
    future: Future[Seen] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_result(Seen(required=True, failure=str(error)))

    Thread(target=run, name="keys", daemon=True).start()
    return future
