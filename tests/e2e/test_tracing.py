"""Traces of a real stack, as a collector sees them: whole ones, also of requests that shared a batch."""

from __future__ import annotations

import itertools
import shutil
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clip_core.errors import NotFound, Unauthorized
from scripts.profiling.taking import SERVICES, ProfileTaker, take_service, write_profile, write_service_profile
from scripts.stack.live_stack import LiveStack, live_stack
from tests.e2e.conftest import send
from tests.tracing import Collector, collecting
from tests.waiting import until

pytestmark = pytest.mark.e2e
COUNT, CLIENTS = 200, 16
TOKEN = "a-long-secret"


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveStack, Collector]]:
    folder = tmp_path_factory.mktemp("traced")
    with collecting() as (collector, url):
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        env["CLIPSERVE_HANDLER_ADMIN_TOKEN"] = TOKEN
        with live_stack(folder, "--observe", env=env) as stack:
            stack.wait_ready()
            yield stack, collector


def callers_trace(number: int) -> str:
    return f"{number + 1:032x}"


def search(stack: LiveStack, number: int) -> int:
    body = {"collection": "demo", "text": f"{number} small blue stars", "k": 3}
    parent = f"00-{callers_trace(number)}-{1:016x}-01"
    return send("POST", f"{stack.gateway}/v1/search", body, traceparent=parent).status


def by_trace(collector: Collector) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for span in list(collector.spans):
        found[span.trace_id.hex()].append(span)
    return found


def is_whole(spans: list[Any], every: dict[bytes, Any]) -> bool:
    """From the gateway's request to a batch, and from that batch to the index service's own span."""
    known = {span.span_id: span for span in spans}
    if not any(span.name == "POST /v1/search" for span in spans):
        return False
    requests = [span for span in spans if span.name == "clip_text" and span.parent_span_id in known]
    batches = {link.span_id for span in requests for link in span.links}
    batches |= {span.span_id for span in spans if span.name == "batch"}
    return any(_searched(every.get(batch), every) for batch in batches)


def _searched(batch: Any, every: dict[bytes, Any]) -> bool:
    if batch is None:
        return False
    calls = {id_ for id_, span in every.items() if span.parent_span_id == batch.span_id and span.name == "POST /search"}
    return any(span.parent_span_id in calls and span.name == "POST search" for span in every.values())


def test_every_search_is_a_whole_trace(traced: tuple[LiveStack, Collector]) -> None:
    stack, collector = traced
    with ThreadPoolExecutor(CLIENTS) as pool:
        assert set(pool.map(lambda number: search(stack, number), range(COUNT))) == {200}

    def whole() -> bool:
        every = {span.span_id: span for span in list(collector.spans)}
        traces = by_trace(collector)
        return all(is_whole(traces[callers_trace(number)], every) for number in range(COUNT))

    until(whole)
    names = set(collector.services.values())
    assert {"clipserve-gateway", "clip_text", "clipserve-index"} <= names


def test_an_error_and_its_log_lines_name_the_trace(traced: tuple[LiveStack, Collector]) -> None:
    stack, _ = traced
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    answer = send("POST", f"{stack.gateway}/v1/search", {"collection": "none", "text": "a"}, traceparent=parent)
    assert answer.json["error"]["trace_id"] == "ab" * 16
    until(lambda: f"trace_id={'ab' * 16}" in (stack.log_dir / "gateway.log").read_text(encoding="utf-8"))


def test_a_worker_is_profiled_while_it_serves(traced: tuple[LiveStack, Collector], tmp_path: Path) -> None:
    stack, _ = traced
    numbers = itertools.count(1000)
    taker = ProfileTaker(stack.inference, TOKEN)
    taken = taker.take("clip_text", 3, 60.0, lambda: search(stack, next(numbers)))
    assert len(taken["batches"]) == 3
    assert {"tokenize", "text tower", "index"} <= taken["batches"][0]["stages"].keys()
    write_profile(taken, tmp_path, None)
    assert "text tower" in (tmp_path / "index.html").read_text(encoding="utf-8")
    with pytest.raises(NotFound):
        taker.take("clip_none", 1, 1.0)
    with pytest.raises(Unauthorized):
        ProfileTaker(stack.inference, "other").take("clip_text", 1, 1.0)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_profiles_itself(traced: tuple[LiveStack, Collector], service: str, tmp_path: Path) -> None:
    stack, _ = traced
    url = {"gateway": stack.gateway, "index": stack.index}[service]
    write_service_profile(service, take_service(service, url, None, 1, memory=True), tmp_path)
    assert "MB" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's package prometheus is not installed")
def test_its_own_prometheus_observes_all_of_it(traced: tuple[LiveStack, Collector]) -> None:
    stack, _ = traced
    prometheus = f"http://127.0.0.1:{stack.ports['prometheus_port']}"
    assert prometheus in stack.text()

    def up() -> set[str]:
        try:
            targets = send("GET", f"{prometheus}/api/v1/targets").json["data"]["activeTargets"]
        except (OSError, ValueError):  # it has not started yet
            return set()
        return {each["labels"]["job"] for each in targets if each["health"] == "up"}

    until(lambda: len(up()) == 3, seconds=120)


def test_a_collector_that_goes_away_stops_nothing(traced: tuple[LiveStack, Collector]) -> None:
    """The last test here: it stops the stack, with spans that nobody takes."""
    stack, collector = traced
    collector.status = 500
    assert search(stack, COUNT) == 200
    stack.stop()
    assert stack.process.returncode == 0
