"""One look at the keys of a file or a database, in a thread of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread

from clip_core.errors import DatabaseUnavailable
from gateway.keys.api_key import ApiKey
from gateway.keys.key_store import Keys, Version


@dataclass(frozen=True)
class Seen:
    """`keys` by their ids, with digests; None where nothing has changed, or where `failure` says why not.

    `away`: the database that has them does not answer.
    """

    required: bool = False
    version: Version = None
    keys: dict[str, tuple[ApiKey, bytes]] | None = None
    failure: str = ""
    away: bool = False


def look_at(store: Keys, known: Version, enforced: bool) -> Seen:
    """`known`: the version that was read last. Leaves the mark that keys are needed, where they are."""
    try:
        version = store.version()
    except DatabaseUnavailable as error:
        return Seen(failure=error.message, away=True)
    if version == known:
        return Seen()
    required = store.is_required()
    if enforced or required:
        store.remember_required()
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
