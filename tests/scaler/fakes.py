"""A gateway's metrics and a management API, as httpx transports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from scaler.actuators.actuator import WorkerActuator
from scaler.actuators.torchserve import TorchServeWorkers
from scaler.scaler import Scaler
from scaler.settings import ScalerSettings
from scaler.watch.demand import DemandWatch
from scaler.watch.gateway import GatewayWatch
from scaler.watch.gateways import Gateways
from tests.clock import Clock

ENDPOINT = "clip_text"
NAMES = ("items", "refused_items", "item_seconds")


@dataclass
class FakeGateway:
    """Its counters by endpoint; `status` other than 200 is what it answers; `text` is in place of its metrics."""

    counters: dict[str, list[float]] = field(default_factory=lambda: {ENDPOINT: [0.0, 0.0, 0.0]})
    status: int = 200
    text: str | None = None

    def ask(self, items: float, refused: float = 0.0, item_seconds: float = 0.0, endpoint: str = ENDPOINT) -> None:
        before = self.counters.setdefault(endpoint, [0.0, 0.0, 0.0])
        self.counters[endpoint] = [had + more for had, more in zip(before, (items, refused, item_seconds), strict=True)]

    def answer(self, _: httpx.Request) -> httpx.Response:
        if self.status == 0:
            raise httpx.ConnectError("refused")
        return httpx.Response(self.status, text=metrics(self.counters) if self.text is None else self.text)


def metrics(counters: Mapping[str, list[float]]) -> str:
    lines = []
    for place, name in enumerate(NAMES):
        full = f"clipserve_gateway_demand_{name}"
        lines += [f"# HELP {full}_total .", f"# TYPE {full}_total counter"]
        lines += [f'{full}_total{{endpoint="{each}"}} {values[place]}' for each, values in counters.items()]
    return "\n".join([*lines, "# TYPE other gauge", "other 1.0", ""])


@dataclass
class FakeManagement:
    """Workers become ready when `started` is called. `status` other than 200 is its answer to everything; 0: none."""

    wanted: int = 1
    ready: int = 1
    status: int = 200
    changes: list[int] = field(default_factory=list)

    def started(self) -> None:
        self.ready = self.wanted

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.status == 0:
            raise httpx.ConnectError("refused")
        if self.status != 200:
            return httpx.Response(self.status, json={"code": self.status, "message": "no"})
        if request.method == "PUT":
            assert request.url.params["min_worker"] == request.url.params["max_worker"]
            self.wanted = int(request.url.params["min_worker"])
            self.ready = min(self.ready, self.wanted)
            self.changes.append(self.wanted)
            return httpx.Response(202, json={"status": "Processing worker updates..."})
        workers = [{"status": "READY" if place < self.ready else "UNLOADED"} for place in range(self.wanted)]
        return httpx.Response(200, json=[{"minWorkers": self.wanted, "maxWorkers": self.wanted, "workers": workers}])


@dataclass
class ScalerWorld:
    """A scaler between the fakes; `pass_time` moves its clocks."""

    scaler: Scaler
    gateway: FakeGateway
    management: FakeManagement
    clock: Clock
    wall: Clock

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall.now += seconds

    async def ask(self, load: float, seconds: float = 5.0, work_s: float = 0.05) -> int:
        """So many busy workers for so long, then a look; the size that was decided."""
        self.gateway.ask(load * seconds / work_s, 0.0, load * seconds)
        self.pass_time(seconds)
        await self.scaler.look()
        decision = self.scaler.endpoints[ENDPOINT].decision
        assert decision is not None
        return decision.size


def world(settings: ScalerSettings) -> ScalerWorld:
    gateway, management, clock, wall = FakeGateway(), FakeManagement(), Clock(100.0), Clock(1.7e9)
    transport = httpx.MockTransport(gateway.answer)
    gateways = Gateways(settings.gateway_urls, lambda url: GatewayWatch(url, "key", clock=clock, transport=transport))
    workers = TorchServeWorkers("http://torchserve", httpx.MockTransport(management.answer))
    actuator = WorkerActuator(workers, settings.start_s, clock)
    scaler = Scaler(settings, DemandWatch(gateways), actuator, clock=clock, wall=wall)
    return ScalerWorld(scaler, gateway, management, clock, wall)
