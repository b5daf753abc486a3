"""How much is asked of each TorchServe endpoint, as counters: what a scaler needs, whoever scrapes and how seldom.

`item_seconds` is the integral of the items that run or wait. Its difference over a time, by that time, is their mean
number, exactly; a gauge would show the moments of scrapes only. Readiness checks are no demand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

_HELP = {
    "items": "Items that requests brought to an endpoint, refused ones included.",
    "refused_items": "Items that were refused or found no worker.",
    "item_seconds": "Seconds that items ran or waited.",
}


@dataclass
class EndpointDemand:
    """Counters of one endpoint; `here` is what runs or waits, since `counted` (seconds of the clock)."""

    counted: float
    here: int = 0
    items: int = 0
    refused_items: int = 0
    item_seconds: float = 0.0

    def move(self, items: int, now: float) -> None:
        """`items` more are here, or fewer."""
        self.item_seconds += self.here * max(0.0, now - self.counted)
        self.here += items
        self.counted = now


class Demand(Collector):
    """Of all endpoints, by name. On the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: dict[str, EndpointDemand] = {}

    def know(self, endpoint: str) -> None:
        """It is served: its counters are shown from now on, 0 until something is asked of it."""
        self._of(endpoint)

    @contextmanager
    def stay(self, endpoint: str, items: int) -> Iterator[None]:
        """While `items` run or wait."""
        found = self._of(endpoint)
        found.items += items
        found.move(items, self._clock())
        try:
            yield
        finally:
            found.move(-items, self._clock())

    def refuse(self, endpoint: str, items: int, *, came: bool = False) -> None:
        """`came`: they were counted when they came."""
        found = self._of(endpoint)
        found.refused_items += items
        found.items += 0 if came else items

    def forget(self, endpoint: str) -> None:
        """It is served no more."""
        self._at.pop(endpoint, None)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """As they are now."""
        for name, text in _HELP.items():
            family = CounterMetricFamily(f"clipserve_gateway_demand_{name}", text, labels=["endpoint"])
            for endpoint, found in self._at.items():
                found.move(0, self._clock())
                family.add_metric([endpoint], getattr(found, name))
            yield family

    def _of(self, endpoint: str) -> EndpointDemand:
        found = self._at.get(endpoint)
        if found is None:
            found = self._at[endpoint] = EndpointDemand(self._clock())
        return found
