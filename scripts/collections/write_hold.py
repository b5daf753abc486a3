"""Writes to a collection held back by the index service for a moment, while another one takes its place."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType

from clip_core.errors import ClipServeError, Conflict
from scripts.collections.listed_items import Api

_SECONDS = 60  # at most: the index service lets go by itself then
_AGAIN_S, _MARGIN_S = 2.0, 3.0  # the latter for the switch itself


class WriteHold:
    """A context manager around what must not be disturbed. Raises Conflict at its end where that took too long.

    Where something else holds the same writes, that is waited for: a minute at most.
    """

    def __init__(self, index: Api, collection: str, owner: str) -> None:
        """`collection` is its path. A run that goes on where one of the same `owner` was killed takes its hold over."""
        self._index, self._path = index, f"{collection}/hold"
        self._collection, self._known_s, self._until = collection, 0.0, 0.0
        self._body = {"seconds": _SECONDS, "owner": owner}

    def __enter__(self) -> WriteHold:
        deadline = time.monotonic() + _SECONDS + _AGAIN_S
        while True:
            self._until = time.monotonic() + _SECONDS
            try:
                self._known_s = self._index.call("PUT", self._path, self._body)["known_s"]
                return self
            except Conflict:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN_S)

    def check(self) -> None:
        """Raises Conflict where writes may not be held any more: then nothing may be switched."""
        if time.monotonic() > self._until - _MARGIN_S:
            raise Conflict(
                f"this takes longer than {_SECONDS} s, the most that writes to {self._collection} are held: nothing "
                "was switched, and nothing is lost. Run again while less is written and deleted"
            )

    def tell_all(self) -> None:
        """Wait until every replica knows what the index service was told last."""
        time.sleep(self._known_s)

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
