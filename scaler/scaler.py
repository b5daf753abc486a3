"""The loop: look at the demand, forecast, decide, apply; what fails is said, and the sizes stay."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from scaler.actuators.actuator import Actuator
from scaler.actuators.torchserve import WorkerCount
from scaler.endpoint import Decision, EndpointScaler
from scaler.past import Past
from scaler.settings import ENDPOINT_NAME, ScalerSettings
from scaler.watch.demand import DemandWatch, SeenDemand

_HISTORY = 720  # decisions that are shown
_CAPTIONER = "_caption"  # how names of captioners' endpoints end
_log = logging.getLogger("scaler")


@dataclass
class ScaledEndpoint:
    """An endpoint with its past, its last decision, and what is there."""

    decider: EndpointScaler
    past: Past
    decision: Decision | None = None
    count: WorkerCount | None = None
    history: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_HISTORY))


class Scaler:
    """Every endpoint of the settings, from `start` to `stop`."""

    def __init__(
        self,
        settings: ScalerSettings,
        watch: DemandWatch,
        actuator: Actuator,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._watch, self._actuator, self._clock, self._wall = watch, actuator, clock, wall
        self.endpoints: dict[str, ScaledEndpoint] = {}
        for name in settings.endpoints:
            self._add(name)
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        for each in self.endpoints.values():
            each.past.save()
        await self._watch.close()
        await self._actuator.close()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                _log.exception("a look at the demand failed; the sizes stay")
            await asyncio.sleep(self.settings.poll_interval_s)

    async def look(self) -> None:
        """Once."""
        seen = await self._watch.look(tuple(self.endpoints), discover=self.settings.discover)
        if self.settings.discover:
            self._follow(seen)
        await asyncio.gather(*(self._scale(name, seen[name]) for name in self.endpoints))

    def _follow(self, seen: Mapping[str, SeenDemand]) -> None:
        """Endpoints come and go with the models that gateways serve. A captioner keeps its one worker."""
        for name, each in seen.items():
            if name.endswith(_CAPTIONER):
                continue
            if name not in self.endpoints and ENDPOINT_NAME.fullmatch(name):
                self._add(name)
            elif name in self.endpoints and each.gone:
                _log.warning("no gateway names %s any more; its workers stay as they are", name)
                self.endpoints.pop(name).past.save()
                self._actuator.forget(name)

    def _add(self, name: str) -> None:
        past = Past(self.settings.data_dir / f"{name}.npy", self.settings.series_step_s)
        self.endpoints[name] = ScaledEndpoint(EndpointScaler(self.settings), past)

    async def _scale(self, name: str, seen: SeenDemand) -> None:
        each = self.endpoints[name]
        if seen.interval is not None and seen.complete:
            each.past.add(seen.interval, self._wall())
        await each.past.renew(self.settings.quantile, self._actuator.start_s(name))
        each.count = await self._actuator.count(name)
        wanted = each.count.wanted if each.count is not None else None
        before = each.decision.size if each.decision is not None else None
        decision = each.decider.decide(
            seen.interval, each.past.forecast, self._clock(), size=wanted, complete=seen.complete
        )
        if decision is None:
            return
        each.decision = decision
        each.history.append({"at": self._wall(), "ready": each.count and each.count.ready, **asdict(decision)})
        if decision.size != before:
            _log.info("%s: %s → %d: %s", name, before, decision.size, decision.reason)
        await self._actuator.apply(name, decision.size)
