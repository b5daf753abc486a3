"""The loop between a gateway and a TorchServe that come and go: no capacity is lost by what fails."""

from __future__ import annotations

import logging
import math
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from scaler.actuators.actuator import WorkerActuator
from scaler.actuators.start_times import StartTimes
from scaler.app import create_app
from scaler.forecast.points import DAY
from scaler.scaler import Scaler
from scaler.series.minutes import MinuteRates
from scaler.series.readings import Interval
from scaler.settings import ScalerSettings
from scaler.watch.demand import total
from scaler.watch.gateway import readings
from tests.scaler.fakes import ENDPOINT, ScalerWorld, metrics, world


def settings(folder: Path, **given: object) -> ScalerSettings:
    told = {
        "endpoints": (ENDPOINT,),
        "data_dir": folder,
        "max_replicas": 8,
        "target_utilization": 0.5,
        "stabilization_window_s": 0,
        "scale_to_zero_after_s": 20,
    }
    return ScalerSettings(**{**told, **given})


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[ScalerWorld]:
    made = world(settings(tmp_path, min_replicas=0))
    await made.scaler.look()
    yield made
    await made.scaler.stop()


async def test_workers_follow_the_demand(here: ScalerWorld) -> None:
    assert await here.ask(2.0) == 4
    assert here.management.wanted == 4
    assert await here.ask(2.0) == 4
    assert await here.ask(0.5) == 1
    assert here.management.changes == [4, 1]


async def test_to_zero_and_back(here: ScalerWorld) -> None:
    await here.ask(1.0)
    assert await here.ask(0.0, seconds=30.0) == 0
    assert here.management.wanted == 0
    here.gateway.ask(1, refused=1)  # it was answered 503, and that is the signal
    here.pass_time(5.0)
    await here.scaler.look()
    assert here.management.wanted == 1


@pytest.mark.parametrize("status", [0, 401, 500])
async def test_without_the_gateway_the_workers_stay(
    here: ScalerWorld, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    await here.ask(2.0)
    here.gateway.status = status
    with caplog.at_level(logging.WARNING):
        sizes = [await here.ask(0.0) for _ in range(3)]
    assert sizes == [4, 4, 4]
    assert here.management.wanted == 4
    assert len([each for each in caplog.records if "do not shrink" in each.getMessage()]) == 1
    here.gateway.status = 200
    await here.ask(3.0)
    assert await here.ask(3.0) == 6


@pytest.mark.parametrize("text", ["", "garbage {", "# TYPE other gauge\nother 1.0\n"])
async def test_metrics_that_vanish_never_take_workers_away(here: ScalerWorld, text: str) -> None:
    await here.ask(2.0)
    here.gateway.text = text
    assert await here.ask(0.0) == 4
    assert here.management.wanted == 4


async def test_an_endpoint_that_a_gateway_names_no_more_keeps_its_workers(here: ScalerWorld) -> None:
    await here.ask(2.0)
    here.gateway.counters = {"other": [1.0, 0.0, 1.0]}
    here.pass_time(5.0)
    await here.scaler.look()
    decision = here.scaler.endpoints[ENDPOINT].decision
    assert decision is not None
    assert (decision.size, decision.demand) == (4, None)
    assert "not known" in decision.reason
    assert here.management.wanted == 4


async def test_what_was_discovered_is_left_when_no_gateway_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = world(settings(tmp_path, discover=True))
    await made.scaler.look()
    await made.ask(2.0)
    made.gateway.status = 500  # then it is not known whether it is gone
    await made.scaler.look()
    assert ENDPOINT in made.scaler.endpoints
    made.gateway.status = 200
    made.gateway.counters = {"other": [0.0, 0.0, 0.0], "other_caption": [9.0, 0.0, 9.0]}  # of a captioner: left alone
    await made.scaler.look()
    assert list(made.scaler.endpoints) == ["other"]
    assert "its workers stay as they are" in caplog.text
    assert made.management.changes == [4]
    await made.scaler.stop()


async def test_nan_and_a_reset_counter(here: ScalerWorld, caplog: pytest.LogCaptureFixture) -> None:
    await here.ask(2.0)
    here.gateway.counters[ENDPOINT][2] = math.nan
    assert await here.ask(0.0) == 4
    assert await here.ask(0.0) == 4
    assert caplog.text.count("the counters of clip_text are missing or no counts") == 1
    here.gateway.counters[ENDPOINT] = [0.0, 0.0, 0.0]  # the gateway was started again
    await here.ask(1.0)
    assert await here.ask(1.0) == 2


@pytest.mark.parametrize("status", [0, 403, 500, 503])
async def test_a_management_api_that_refuses(here: ScalerWorld, status: int) -> None:
    here.management.status = status
    assert await here.ask(2.0) == 4
    assert here.management.changes == []
    here.management.status = 200
    assert await here.ask(2.0) == 4
    assert here.management.wanted == 4


async def test_a_negative_number_of_workers_is_not_believed(here: ScalerWorld) -> None:
    await here.ask(2.0)
    here.management.wanted = -3
    await here.ask(0.0)
    assert here.management.changes == [4]


@pytest.mark.parametrize("jump", [-86_400.0, 30 * 86_400.0])
async def test_a_clock_that_jumps_changes_no_size(here: ScalerWorld, jump: float) -> None:
    await here.ask(2.0)
    here.wall.now += jump
    assert await here.ask(2.0) == 4
    assert here.management.changes == [4]


async def test_a_torchserve_that_started_again_gets_its_workers_back(here: ScalerWorld) -> None:
    await here.ask(2.0)
    here.management.wanted = here.management.ready = 1  # what its archive says
    assert await here.ask(2.0) == 4
    assert here.management.wanted == 4


async def test_a_new_scaler_begins_with_what_is_there(tmp_path: Path) -> None:
    made = world(settings(tmp_path))
    made.management.wanted = made.management.ready = 5
    await made.scaler.look()  # nothing is known of the demand yet
    assert made.management.changes == []
    assert made.scaler.endpoints[ENDPOINT].decision.size == 5  # type: ignore[union-attr]
    await made.scaler.stop()


async def test_the_past_gives_a_floor(tmp_path: Path) -> None:
    """Nine days with a morning at 8, and now it is 7:59."""
    minutes = np.arange(9 * DAY + 8 * 60 - 1)
    hour = minutes % DAY / 60
    rates = np.where((hour >= 8) & (hour < 18), 80.0, 20.0)  # items a second, of 50 ms: 4 busy workers and 1
    first = 28_333_440  # a midnight
    past = MinuteRates.of(first, rates, 60.0)
    past.save(tmp_path / f"{ENDPOINT}.npy")
    made = world(settings(tmp_path, max_utilization=0.8))
    made.wall.now = (first + len(rates)) * 60.0
    await made.scaler.look()
    size = await made.ask(1.0)
    decision = made.scaler.endpoints[ENDPOINT].decision
    assert decision is not None
    assert decision.method in ("week", "day")
    assert decision.upper is not None
    assert decision.upper > 2.0  # the morning is seen, and what comes now is 1.0
    assert size == 3, decision
    await made.scaler.stop()


@pytest.mark.parametrize("content", [b"no numbers", b"", b"PK\x03\x04abc"])
async def test_a_broken_past_is_said_and_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / f"{ENDPOINT}.npy").write_bytes(content)
    made = world(settings(tmp_path))
    await made.scaler.look()
    assert "begins anew" in caplog.text
    assert await made.ask(2.0) == 4
    await made.scaler.stop()


async def test_what_keda_asks_for(here: ScalerWorld) -> None:
    app = create_app(here.scaler)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://scaler") as client:
        await here.ask(2.0)
        answer = (await client.get(f"/v1/sizes/{ENDPOINT}")).json()
        assert answer["size"] == 4
        assert answer["demand"] == pytest.approx(2.0)
        assert answer["forecast"] == {"point": None, "upper": None, "method": None}
        assert (await client.get("/v1/sizes")).json()["sizes"] == [answer]
        history = f"/v1/sizes/{ENDPOINT}/history"
        assert len((await client.get(history)).json()["decisions"]) == 2
        assert [each["size"] for each in (await client.get(f"{history}?seconds=4")).json()["decisions"]] == [4]
        for seconds in ("many", "nan", "-1"):
            assert (await client.get(f"{history}?seconds={seconds}")).status_code == 400
        assert f'clipserve_scaler_size{{endpoint="{ENDPOINT}"}} 4.0' in (await client.get("/metrics")).text
        unknown = await client.get("/v1/sizes/nothing")
        assert unknown.status_code == 404
        assert ENDPOINT in unknown.json()["error"]["message"]
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/nowhere")).json()["error"]["code"] == "not_found"
        wrong = await client.post("/v1/sizes")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_before_the_first_decision_there_is_no_size(tmp_path: Path) -> None:
    made = world(settings(tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(made.scaler)), base_url="http://s") as client:
        assert (await client.get(f"/v1/sizes/{ENDPOINT}")).status_code == 503
    await made.scaler.stop()


async def test_a_look_that_fails_does_not_end_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio

    made, looks, enough = world(settings(tmp_path, poll_interval_s=0.1)), [], asyncio.Event()

    async def look(_: Scaler) -> None:
        looks.append(1)
        if len(looks) > 2:
            enough.set()
        raise RuntimeError("no")

    monkeypatch.setattr(Scaler, "look", look)
    made.scaler.start()
    await asyncio.wait_for(enough.wait(), 30)
    await made.scaler.stop()
    assert "the sizes stay" in caplog.text


def test_start_times_are_from_the_first_asking_to_the_last_worker() -> None:
    starts = StartTimes(30.0)
    assert starts.p90_s == 30.0
    starts.asked(3, 1, 0.0)
    starts.see(2, 4.0)
    starts.asked(4, 2, 5.0)
    starts.see(4, 9.0)
    assert starts.p90_s == 9.0
    starts.asked(2, 4, 10.0)  # fewer: nothing starts
    starts.see(4, 11.0)
    assert starts.p90_s == 9.0


def test_rates_of_several_gateways_add_up() -> None:
    found = total([Interval(5.0, 10, 1, 2.0), Interval(10.0, 40, 4, 8.0)])
    assert found == Interval(5.0, 30, 3, 6.0)


def test_a_counter_that_is_missing_is_no_number() -> None:
    text = metrics({ENDPOINT: [1.0, 2.0, 3.0]}).replace("refused_items", "others")
    assert math.isnan(readings(text, 0.0)[ENDPOINT].refused_items)


async def test_endpoints_that_only_a_gateway_names(tmp_path: Path) -> None:
    made = world(settings(tmp_path, discover=True))
    made.gateway.ask(0, endpoint="other_text")
    made.gateway.ask(0, endpoint="clip_caption")  # a captioner has one worker
    made.gateway.ask(0, endpoint="../../no name of a file")
    await made.scaler.look()
    assert list(made.scaler.endpoints) == [ENDPOINT, "other_text"]
    made.gateway.ask(200, 0, 10.0, endpoint="other_text")
    await made.ask(0.0)
    decision = made.scaler.endpoints["other_text"].decision
    assert decision is not None
    assert decision.size == 4
    await made.scaler.stop()


async def test_without_discovery_they_are_left_alone(tmp_path: Path) -> None:
    made = world(settings(tmp_path))
    made.gateway.ask(5, endpoint="other_text")
    await made.scaler.look()
    assert list(made.scaler.endpoints) == [ENDPOINT]
    await made.scaler.stop()


@pytest.mark.parametrize("name", ["../../esc", "a/b", ".hidden", "a" * 129])
def test_an_endpoint_that_can_be_no_files_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="no name of an endpoint"):
        ScalerSettings(endpoints=(name,))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"gateway_urls": ()}, "names no gateway"),
        ({"gateway_urls": ("gateway:8000",)}, "must be an address"),
        ({"gateway_urls": ("dns+gateway:8000",)}, "must be an address"),
        ({"gateway_urls": ("http://gäteway",)}, "must be an address"),
        ({"gateway_urls": ("dns+http://a..b",)}, "must be an address"),
        ({"gateway_urls": (f"http://{'a' * 64}.b",)}, "must be an address"),
        ({"host": ""}, "at least 1 character"),
        ({"management_url": "localhost"}, "must be an address"),
        ({"management_url": "unix:"}, "needs the path"),
        ({"gateway_key": "schlüssel"}, "printable ASCII"),
        ({"endpoints": ()}, "nothing to scale"),
        ({"poll_interval_s": 1e-9}, "greater than or equal to 0.1"),
    ],
)
def test_settings_that_could_never_work(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as refused:
        ScalerSettings.model_validate(given)
    assert "schlüssel" not in str(refused.value)


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**os.environ, "CLIPSERVE_SCALER_PORT": str(port)}
        done = subprocess.run([sys.executable, "-m", "scaler"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"scaler: cannot listen on 127.0.0.1:{port}")
    assert "Traceback" not in done.stderr


async def test_gateways_and_endpoints_that_went_leave_nothing_behind(tmp_path: Path) -> None:
    made = world(settings(tmp_path, discover=True, endpoints=()))
    for number in range(20):
        made.gateway.counters = {f"model_{number}": [0.0, 0.0, 0.0]}
        made.pass_time(5)
        await made.scaler.look()
    assert list(made.scaler.endpoints) == ["model_19"]
    assert len(made.scaler._watch._before) <= 2
    assert isinstance(made.scaler._actuator, WorkerActuator)
    assert len(made.scaler._actuator._starts) == 1
    await made.scaler.stop()


async def test_what_is_there_counts_as_needed_also_when_it_is_known_late(tmp_path: Path) -> None:
    made = world(settings(tmp_path, stabilization_window_s=60))
    made.management.wanted = made.management.ready = 3
    made.management.status = 500
    await made.scaler.look()
    await made.ask(0.1)
    made.management.status = 200
    await made.ask(0.1)
    assert made.management.wanted == 3
    made.pass_time(61)
    await made.ask(0.1)
    assert made.management.wanted == 1
    await made.scaler.stop()


async def test_a_huge_counter_asks_for_the_most(tmp_path: Path) -> None:
    made = world(settings(tmp_path))
    await made.scaler.look()
    await made.ask(1.0)
    made.gateway.counters[ENDPOINT] = [1e308, 0.0, 1e308]
    made.pass_time(5)
    await made.scaler.look()
    assert made.management.wanted == made.scaler.settings.max_replicas
    await made.scaler.stop()
