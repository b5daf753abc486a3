"""Which gateways are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from clip_core.errors import Unavailable
from scaler.watch.demand import DemandWatch
from scaler.watch.gateway import GatewayWatch
from scaler.watch.gateways import Gateways
from tests.clock import Clock
from tests.scaler.fakes import ENDPOINT, FakeGateway


class Cluster:
    """A name whose addresses change, with a gateway at each."""

    def __init__(self) -> None:
        self.gateways: dict[str, FakeGateway] = {}
        self.clock, self.fails, self.opened = Clock(), False, list[str]()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("gateways", 8000)
        if self.fails:
            raise OSError("no DNS")
        return list(self.gateways)

    def make(self, url: str) -> GatewayWatch:
        self.opened.append(url)
        host = httpx.URL(url).host
        return GatewayWatch(
            url, clock=self.clock, transport=httpx.MockTransport(lambda r: self.gateways[host].answer(r))
        )


async def test_every_address_of_a_name_is_asked_and_their_demand_adds_up() -> None:
    cluster = Cluster()
    cluster.gateways = {"10.0.0.2": FakeGateway(), "10.0.0.1": FakeGateway(), "fd00::1": FakeGateway()}
    watch = DemandWatch(Gateways(["dns+http://gateways:8000"], cluster.make, cluster.resolve))
    assert (await watch.look([ENDPOINT]))[ENDPOINT].interval is None
    assert cluster.opened == ["http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://[fd00::1]:8000"]
    for gateway in cluster.gateways.values():
        gateway.ask(10, 0, 0.5)
    cluster.clock.now += 5
    seen = (await watch.look([ENDPOINT]))[ENDPOINT]
    assert seen.complete
    assert seen.interval is not None
    assert seen.interval.items == 30
    await watch.close()


async def test_gateways_come_and_go() -> None:
    cluster = Cluster()
    cluster.gateways = {"10.0.0.1": FakeGateway()}
    watch = DemandWatch(Gateways(["dns+http://gateways:8000"], cluster.make, cluster.resolve))
    await watch.look([ENDPOINT])
    cluster.gateways["10.0.0.2"] = FakeGateway()
    cluster.clock.now += 5
    assert not (await watch.look([ENDPOINT]))[ENDPOINT].complete  # the new one has no rate yet
    cluster.clock.now += 5
    assert (await watch.look([ENDPOINT]))[ENDPOINT].complete
    cluster.fails = True
    cluster.clock.now += 5
    assert (await watch.look([ENDPOINT]))[ENDPOINT].complete  # at the last addresses
    cluster.fails = False
    del cluster.gateways["10.0.0.1"]
    cluster.clock.now += 5
    assert (await watch.look([ENDPOINT]))[ENDPOINT].complete
    await watch.close()


async def test_a_name_that_never_resolved_is_no_gateway() -> None:
    cluster = Cluster()
    cluster.fails = True
    watch = DemandWatch(Gateways(["dns+http://gateways:8000"], cluster.make, cluster.resolve))
    seen = (await watch.look([ENDPOINT]))[ENDPOINT]
    assert seen.interval is None
    assert not seen.gone
    await watch.close()


async def test_a_gateway_that_drips_its_answer_is_away_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(200)

    monkeypatch.setattr("scaler.watch.gateway._TIMEOUT_S", 0.05)
    watch = GatewayWatch("http://gateway", transport=httpx.MockTransport(drip))
    with pytest.raises(Unavailable, match="takes longer"):
        await watch.read()
    await watch.close()
