"""One batch on its way: sent again while the gateway is busy or away, halved when an item of it spoils the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import clipserve_client.calls.calls as calls
from clipserve_client.answers.answers import ItemResult
from clipserve_client.errors import ApiError, CallTimedOut, ClientError, ConnectionFailed, WorkerLost, api_error
from clipserve_client.ingest.batches import Parcel, body_of
from clipserve_client.ingest.pace import Pace
from clipserve_client.ingest.results import Result
from clipserve_client.retries import Retries

T = TypeVar("T")
_WILL_PASS = (429, 502, 503, 504)
_ABOUT_ITEMS = (400, 408, 413, 424, 431, 500)  # one item may be the reason; any other status concerns all of them
_MOST_LOSSES = 3  # of workers, or of time, to one item
_BACKOFF = Retries(initial_backoff_s=0.5, max_backoff_s=15.0)


class Sender(Protocol):
    """What is used of `Client`."""

    timeout_s: float

    def send_once(self, call: calls.Call[T], timeout_s: float) -> T: ...


class Stopped(Exception):
    """The ingest was told to end before this batch had its results."""


class Delivery:
    """Sends batches to one collection, from several threads. `retry_timeout_s`: how long a batch may fail."""

    def __init__(
        self, sender: Sender, collection: str, pace: Pace, stop: threading.Event, retry_timeout_s: float
    ) -> None:
        self._sender, self._collection = sender, collection
        self._pace, self._stop, self._retry_timeout_s = pace, stop, retry_timeout_s

    def deliver(self, batch: Sequence[Parcel]) -> list[Result]:
        """A result for each. Raises ClientError for what concerns all items, and when patience is over; or Stopped."""
        todo, results = [_Part(batch)], list[Result]()
        end, tries = time.monotonic() + self._retry_timeout_s, 0
        while todo:
            part = todo.pop()
            settled, left, error = self._try(part)
            results += settled
            if settled:
                end, tries = time.monotonic() + self._retry_timeout_s, 0
            todo += left
            if error is not None and left:
                self._pause(error, tries, end)
                tries += 1
        return results

    def _try(self, part: _Part) -> tuple[list[Result], list[_Part], ClientError | None]:
        """What is settled, what is to be sent again, and the error to wait after."""
        try:
            with self._pace.turn():
                if self._stop.is_set():
                    raise Stopped
                call = calls.add_encoded(self._collection, body_of(part.parcels))
                answered = self._sender.send_once(call, self._sender.timeout_s)
        except ClientError as error:
            return self._failed(part, error)
        self._pace.went_well()
        return _sorted(part, answered)

    def _failed(self, part: _Part, error: ClientError) -> tuple[list[Result], list[_Part], ClientError | None]:
        if isinstance(error, WorkerLost | CallTimedOut) or (isinstance(error, ApiError) and error.status == 504):
            return part.lost(error)
        if isinstance(error, ConnectionFailed) or (isinstance(error, ApiError) and error.status in _WILL_PASS):
            return [], [part], error
        if isinstance(error, ApiError) and error.status in _ABOUT_ITEMS:
            return part.spoiled(error)
        raise error

    def _pause(self, error: ClientError, tries: int, end: float) -> None:
        pause = _BACKOFF.pause(tries, error)
        if time.monotonic() + pause > end:
            raise error
        if isinstance(error, ApiError) and error.status == 429:
            self._pace.slower(pause)
        if self._stop.wait(pause):
            raise Stopped


class _Part:
    """Some of a batch; `losses`: how often its worker ended, or its time."""

    def __init__(self, parcels: Sequence[Parcel], losses: int = 0) -> None:
        self.parcels, self.losses = parcels, losses

    def halves(self) -> list[_Part]:
        middle = len(self.parcels) // 2
        return [_Part(half, self.losses) for half in (self.parcels[middle:], self.parcels[:middle])]

    def spoiled(self, error: ApiError) -> tuple[list[Result], list[_Part], ClientError | None]:
        if len(self.parcels) > 1:
            return [], self.halves(), None
        return [_failure(self.parcels[0], error)], [], None

    def lost(self, error: ClientError) -> tuple[list[Result], list[_Part], ClientError | None]:
        """Halved, so that an item that ends workers is found, and a slow machine has less to do at once."""
        if len(self.parcels) > 1:
            return [], self.halves(), error
        if self.losses + 1 >= _MOST_LOSSES:
            return [_failure(self.parcels[0], error)], [], None
        return [], [_Part(self.parcels, self.losses + 1)], error


def _sorted(part: _Part, answered: Sequence[ItemResult]) -> tuple[list[Result], list[_Part], ClientError | None]:
    settled, again, last = list[Result](), list[Parcel](), None
    for parcel, told in zip(part.parcels, answered, strict=True):
        error = None if told.ok else api_error(told.status, {"error": told.error})
        if error is None:
            warned = (f"no caption ({told.warning['code']})",) if told.warning else ()
            settled.append(Result(parcel.id, "added", notes=parcel.notes + warned))
        elif error.status in _WILL_PASS:
            again.append(parcel)
            last = error
        else:
            settled.append(_failure(parcel, error))
    left = _Part(again, part.losses)
    if isinstance(last, WorkerLost):
        lost, parts, _ = left.lost(last)
        return settled + lost, parts, last
    return settled, [left] if again else [], last


def _failure(parcel: Parcel, error: ClientError) -> Result:
    code: Any = error.code if isinstance(error, ApiError) else "timed_out"
    return Result(parcel.id, "failed", code, error.message, parcel.notes)
