"""Writes to a collection held back by the index service for a moment, while another one takes its place."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from clip_core.errors import ClipServeError, Conflict
from scripts.collections.listed_items import Api

_SECONDS = 60  # at most: the index service lets go by itself then


class WriteHold:
    """A context manager around what must not be disturbed. Raises Conflict at its end where that took too long."""

    def __init__(self, index: Api, collection: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """`collection` is its path."""
        self._index, self._path, self._sleep = index, f"{collection}/hold", sleep
        self._collection, self._known_s = collection, 0.0

    def __enter__(self) -> WriteHold:
        self._known_s = self._index.call("PUT", self._path, {"seconds": _SECONDS})["known_s"]
        return self

    def tell_all(self) -> None:
        """Wait until every replica knows what the index service was told last."""
        self._sleep(self._known_s)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*((ClipServeError,) if kind is not None else ())):
            held = self._index.call("DELETE", self._path)["held"]
            if not held:
                raise Conflict(
                    f"this took longer than {_SECONDS} s, the most that writes are held: those to {self._collection} "
                    "of the last minute may be missing in the collection that takes its place"
                )
