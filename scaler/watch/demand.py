"""The demand at all gateways together, as intervals between two looks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clip_core.errors import Unavailable
from scaler.series.readings import Interval, Reading, interval
from scaler.watch.gateway import GatewayReadings, GatewayWatch
from scaler.watch.gateways import Gateways

_log = logging.getLogger("scaler.watch")
_CAPTIONER = "_caption"  # the end of its endpoint's name: it has one worker, in which captions share every step


@dataclass(frozen=True)
class SeenDemand:
    """Of one endpoint since the last look; `complete`: every gateway said what was asked of it.

    `gone`: every gateway answered, and none names it.
    """

    interval: Interval | None
    complete: bool
    gone: bool = False


class DemandWatch:
    """Looks at every gateway; one that does not answer is said once, and again when it is back."""

    def __init__(self, gateways: Gateways) -> None:
        self._gateways = gateways
        self._before: dict[tuple[str, str], Reading] = {}
        self._away: set[str] = set()
        self._odd: set[tuple[str, str]] = set()

    async def look(self, endpoints: Sequence[str], *, discover: bool = False) -> dict[str, SeenDemand]:
        """Endpoint → what was asked of it; with `discover` also of those that only a gateway names; no captioner."""
        gateways = await self._gateways.now()
        answers = await asyncio.gather(*map(self._read, gateways))
        by_url = {gateway.url: answer for gateway, answer in zip(gateways, answers, strict=True)}
        named = [name for answer in answers if answer is not None for name in answer.named] if discover else []
        others = [name for name in named if not name.endswith(_CAPTIONER)]
        found = {endpoint: self._seen(endpoint, by_url) for endpoint in dict.fromkeys([*endpoints, *others])}
        self._forget_all_but(by_url, found)
        return found

    def _forget_all_but(self, urls: Collection[str], endpoints: Collection[str]) -> None:
        """Pods and models come and go for months."""
        self._before = {key: each for key, each in self._before.items() if key[0] in urls and key[1] in endpoints}
        self._away.intersection_update(urls)
        self._odd = {key for key in self._odd if key[0] in urls and key[1] in endpoints}

    async def close(self) -> None:
        await self._gateways.close()

    async def _read(self, gateway: GatewayWatch) -> GatewayReadings | None:
        try:
            found = await gateway.read()
        except Unavailable as error:
            if gateway.url not in self._away:
                _log.warning("%s; sizes do not shrink meanwhile", error)
            self._away.add(gateway.url)
            return None
        if gateway.url in self._away:
            _log.info("%s answers again", gateway.url)
        self._away.discard(gateway.url)
        self._tell_odd(gateway.url, found)
        return found

    def _seen(self, endpoint: str, answers: Mapping[str, GatewayReadings | None]) -> SeenDemand:
        """`answers` by the gateway's URL."""
        told = [(url, answer.of(endpoint)) for url, answer in answers.items() if answer is not None]
        known = [found for url, now in told if (found := self._since(url, endpoint, now)) is not None]
        named = any(answer is not None and endpoint in answer.named for answer in answers.values())
        gone = 0 < len(told) == len(answers) and not named
        return SeenDemand(total(known) if known else None, len(known) == len(answers), gone)

    def _since(self, url: str, endpoint: str, now: Reading) -> Interval | None:
        found = interval(self._before.get((url, endpoint)), now)
        if now.is_whole:
            self._before[url, endpoint] = now
        return found

    def _tell_odd(self, url: str, answer: GatewayReadings) -> None:
        """Once, until they are sound again."""
        odd = {(url, name) for name, reading in answer.named.items() if not reading.is_whole}
        for _, name in sorted(odd - self._odd):
            _log.warning("%s: the counters of %s are missing or no counts; its size does not shrink", url, name)
        self._odd = {key for key in self._odd if key[0] != url} | odd


def total(intervals: Sequence[Interval]) -> Interval:
    """Rates add up: each interval is stretched to the first one's length."""
    seconds = intervals[0].seconds
    rows = np.array([[each.items, each.refused_items, each.item_seconds] for each in intervals])
    stretched = rows * (seconds / np.array([each.seconds for each in intervals]))[:, None]
    items, refused, item_seconds = (float(each) for each in stretched.sum(axis=0))
    return Interval(seconds, items, refused, item_seconds)
