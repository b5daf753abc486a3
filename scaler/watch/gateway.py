"""What a gateway says of the demand at its endpoints, from its Prometheus metrics."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from clip_core.errors import Unavailable
from scaler.series.readings import Reading

_PREFIX = "clipserve_gateway_demand_"
_COUNTERS = ("items", "refused_items", "item_seconds")
_TIMEOUT_S = 4.0


@dataclass(frozen=True)
class GatewayReadings:
    """What one gateway said at `at`."""

    at: float
    named: Mapping[str, Reading]

    def of(self, endpoint: str) -> Reading:
        """Not known for one that it does not name: gateways name all that they serve."""
        return self.named.get(endpoint) or Reading(self.at, math.nan, math.nan, math.nan)


class GatewayWatch:
    """One gateway. To be closed."""

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url, self._clock = url, clock
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S, transport=transport)

    async def read(self) -> GatewayReadings:
        """Raises Unavailable."""
        try:
            answer = await asyncio.wait_for(self._client.get("/metrics"), _TIMEOUT_S)  # httpx counts from byte to byte
            if answer.status_code != 200:
                raise Unavailable(f"{self.url}/metrics answers {answer.status_code}")
            now = self._clock()
            return GatewayReadings(now, readings(answer.text, now))
        except asyncio.TimeoutError as error:
            raise Unavailable(f"{self.url}/metrics takes longer than {_TIMEOUT_S:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unavailable(f"{self.url}/metrics can't be read ({error})") from error

    async def close(self) -> None:
        await self._client.aclose()


def readings(text: str, at: float) -> dict[str, Reading]:
    """Prometheus text → endpoint → counters; one that is missing is NaN. Raises ValueError where none is declared."""
    found: dict[str, dict[str, float]] = {}
    families = list(text_string_to_metric_families(text))
    if not any(family.name.startswith(_PREFIX) for family in families):
        raise ValueError("it tells no demand")
    for family in families:
        for sample in family.samples:
            name = sample.name.removeprefix(_PREFIX).removesuffix("_total")
            if sample.name.startswith(_PREFIX) and name in _COUNTERS and "endpoint" in sample.labels:
                found.setdefault(sample.labels["endpoint"], {})[name] = sample.value
    return {
        endpoint: Reading(at, *(counters.get(name, math.nan) for name in _COUNTERS))
        for endpoint, counters in found.items()
    }
