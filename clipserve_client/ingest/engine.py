"""Any number of items → a collection: several batches under way, a result for each item, nothing lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Protocol

from clipserve_client.answers.answers import Limits
from clipserve_client.ingest.batches import Parcel, batches
from clipserve_client.ingest.delivery import Delivery, Sender, Stopped
from clipserve_client.ingest.pace import Pace
from clipserve_client.ingest.results import Result, Tally
from clipserve_client.inputs.inputs import NewItem

OnResult = Callable[[Result], object]
IN_FLIGHT = 4  # batches: one each is read, encoded, made thumbnails of, stored
RETRY_TIMEOUT_S = 120.0
_GRACE_S = 10.0  # for batches under way when the ingest ends early


class LimitedSender(Sender, Protocol):
    def limits(self) -> Limits: ...


def run(
    sender: LimitedSender,
    collection: str,
    items: Iterable[NewItem | Result],
    *,
    on_result: OnResult | None = None,
    in_flight: int = IN_FLIGHT,
    retry_timeout_s: float = RETRY_TIMEOUT_S,
    stop: threading.Event | None = None,
) -> Tally:
    """`items` are read, and `on_result` is called, in this thread. Results come in any order.

    An interrupt, or an error that concerns all items, ends it: batches under way get a few seconds to come back, their
    results are told, and the error is raised. What was told as added is in the collection. Setting `stop` ends it, too.
    An error of `items` is raised once those before it have their results.
    """
    if in_flight < 1:
        raise ValueError("in_flight is at least 1")
    stop = stop or threading.Event()
    delivery = Delivery(sender, collection, Pace(in_flight, stop), stop, retry_timeout_s)
    with_results, sound = _Results(on_result), _UntilAnError(items)
    try:
        for batch in batches(sound, sender.limits()):
            if isinstance(batch, Result):
                with_results.tell(batch)
                continue
            with_results.collect_until(in_flight - 1)
            if stop.is_set():
                break
            with_results.under_way[_in_a_thread(delivery, batch)] = batch
        with_results.collect_until(0)
        if sound.error is not None:
            raise sound.error
    except Stopped:
        with_results.collect_what_comes(_GRACE_S)
    except BaseException:
        stop.set()
        with_results.collect_what_comes(_GRACE_S)
        raise
    return with_results.tally


def _in_a_thread(delivery: Delivery, batch: Sequence[Parcel]) -> Future[list[Result]]:
    """In a daemon's, unlike an executor: a program that was interrupted ends without waiting for the gateway."""
    future = Future[list[Result]]()

    def deliver() -> None:
        try:
            future.set_result(delivery.deliver(batch))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=deliver, name="ingest", daemon=True).start()
    return future


class _UntilAnError:
    """Items, which end where reading them fails; `error` is kept for later."""

    def __init__(self, items: Iterable[NewItem | Result]) -> None:
        self._items = items
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[NewItem | Result]:
        try:
            yield from self._items
        except Exception as error:
            self.error = error


class _Results:
    """Of the batches under way."""

    def __init__(self, on_result: OnResult | None) -> None:
        self.tally, self._on_result = Tally(), on_result
        self.under_way: dict[Future[list[Result]], list[Parcel]] = {}

    def tell(self, result: Result) -> None:
        self.tally.count(result)
        if self._on_result is not None:
            self._on_result(result)

    def collect_until(self, most: int) -> None:
        """Wait until at most so many are under way. Raises what ended one of them."""
        while len(self.under_way) > most:
            for future in wait(self.under_way, return_when=FIRST_COMPLETED).done:
                del self.under_way[future]
                for result in future.result():
                    self.tell(result)

    def collect_what_comes(self, within_s: float) -> None:
        for future in wait(self.under_way, within_s).done:
            if future.exception() is None:
                for result in future.result():
                    self.tell(result)
