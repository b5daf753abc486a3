"""What the dashboard's history holds, what it takes, and what the gateway answers from it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import re
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import generate_latest

from gateway.app import build
from gateway.history.figures import COUNTERS, GAUGES, HISTOGRAMS, PLACES, TIME, WIDTH, Figures, row_of
from gateway.history.history import EVERY_S, SPAN_S, History
from gateway.history.ring import Ring
from gateway.history.series import RANGES, quantile_ms, series
from gateway.metrics import BUCKETS, GatewayMetrics
from gateway.settings import GatewaySettings
from tests.gateway.conftest import NOWHERE
from tests.gateway.fakes import picture_uri
from tests.gateway.test_stats import WORKERS
from tests.waiting import PATIENCE_S

MOST_BYTES = 4_000_000
INDEX = """# TYPE clipserve_index_recall gauge
clipserve_index_recall{collection="a",engine="faiss",k="10"} 0.97
clipserve_index_recall{collection="b",engine="faiss",k="10"} 0.991
clipserve_index_process_resident_memory_bytes 3.5e+08
clipserve_index_searches_total 5.0
"""


async def nothing() -> dict[str, float]:
    return {}


def hour(history: History, end: float, **of_row: Any) -> None:
    """Every figure at every reading; `of_row` gives some of them by the number of the reading."""
    count = int(SPAN_S / EVERY_S) + 1
    for n in range(count):
        figures: dict[str, Any] = dict.fromkeys((*COUNTERS, *GAUGES, *HISTOGRAMS), float(n))
        figures |= {name: of(n) for name, of in of_row.items()}
        history.add({TIME: end - EVERY_S * (count - 1 - n), **figures})


def rows_of(*readings: dict[str, Any]) -> np.ndarray:
    return np.stack([row_of(each) for each in readings])


def test_a_full_history_takes_less_than_four_megabytes() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        history = History(nothing)
        hour(history, 1e9)
        hour(history, 1e9 + SPAN_S)  # what is older leaves
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert history.nbytes <= taken <= MOST_BYTES
    assert SPAN_S / EVERY_S <= len(history) <= 1.1 * SPAN_S / EVERY_S


def test_a_ring_keeps_the_newest_in_their_order() -> None:
    ring = Ring(3, 1)
    for n in range(8):
        assert ring.all()[:, 0].tolist() == list(range(max(0, n - 3), n))
        ring.add(np.array([float(n)]))


def test_the_columns_lie_side_by_side() -> None:
    taken = sorted((place.start, place.stop) for place in PLACES.values())
    assert taken[0][0] == 0
    assert [start for start, _ in taken[1:]] == [stop for _, stop in taken[:-1]]
    assert taken[-1][1] == WIDTH


@pytest.mark.parametrize("name", RANGES)
def test_a_range_has_its_steps(name: str) -> None:
    history = History(nothing)
    hour(history, 1e9)
    span, step = RANGES[name]
    told = series(history.rows(), name, 1e9)
    assert told["step_s"] == step
    assert abs(len(told["time"]) - span / step) <= 1
    assert told["time"] == sorted(told["time"])
    assert told["time"][-1] == 1e9
    assert told["time"][0] >= 1e9 - span - step
    assert {len(column) for column in told["columns"].values()} == {len(told["time"])}
    assert set(told["columns"]["requests_per_s"]) == {0.2}, "one more each five seconds"


def test_rates_shares_and_peaks_of_a_step() -> None:
    before = dict.fromkeys((*COUNTERS, *GAUGES, *HISTOGRAMS), 0.0) | {TIME: 5.0}
    first = before | {TIME: 10.0, "waiting": 7.0, "recall": 0.9}
    last = before | {TIME: 15.0, "requests": 50.0, "failed": 5.0, "recall": 0.95, "jobs": 2.0}
    last |= {"batches": 4.0, "batch_requests": 10.0, "pass_items": 3.0, "pass_capacity": 4.0}
    last |= {"cache_hits": 1.0, "cache_misses": 3.0, "job_entries": 20.0}
    told = series(rows_of(before, first, last), "15m", 20.0)
    assert told["time"] == [15.0]
    columns = {name: column[0] for name, column in told["columns"].items()}
    assert columns["requests_per_s"] == 5.0
    assert columns["server_errors_per_s"] == 0.5
    assert columns["waiting"] == 7.0, "the most of the step"
    assert columns["recall"] == 0.9, "the least of the step"
    assert columns["batch_requests"] == 2.5
    assert columns["batch_fill_percent"] == 75.0
    assert columns["cache_hits_percent"] == 25.0
    assert columns["job_entries_per_s"] == 2.0
    assert columns["jobs"] == 2.0


def test_what_is_not_known_is_null() -> None:
    told = series(rows_of({TIME: 5.0}, {TIME: 15.0, "requests": 3.0}), "15m", 20.0)
    assert {name: values for name, values in told["columns"].items() if values != [None]} == {}


def test_a_counter_that_began_anew_has_a_gap_and_no_negative_rate() -> None:
    rows = rows_of(*({TIME: 10.0 * n, "batches": value, "batch_requests": value} for n, value in enumerate((9, 2, 4))))
    assert series(rows, "15m", 30.0)["columns"]["batch_requests"] == [None, 1.0]


@pytest.mark.parametrize("rows", [[], [{TIME: 5.0}]])
def test_before_the_second_reading_there_is_nothing(rows: list[dict[str, Any]]) -> None:
    table = rows_of(*rows) if rows else np.empty((0, WIDTH))
    told = series(table, "5m", 6.0)
    assert told["time"] == []
    assert set(map(tuple, told["columns"].values())) == {()}


def counts_of(times_s: Sequence[float]) -> list[float]:
    return [float(sum(time <= bound for time in times_s)) for bound in (*BUCKETS, math.inf)]


@pytest.mark.parametrize("part", [0.5, 0.95, 0.99])
def test_percentiles_lie_in_their_bucket(part: float) -> None:
    times = np.random.default_rng(0).exponential(0.05, 2000)
    (got,) = quantile_ms(np.array([counts_of(times.tolist())]), part) / 1e3
    exact = float(np.quantile(times, part))
    edges = [0.0, *BUCKETS]
    (bucket,) = [pair for pair in itertools.pairwise(edges) if pair[0] < exact <= pair[1]]
    assert bucket[0] <= got <= bucket[1]


def test_percentiles_at_the_ends() -> None:
    got = quantile_ms(np.array([counts_of([]), counts_of([0.0005]), counts_of([99.0])]), 0.99)
    assert math.isnan(got[0])
    assert got[1:].tolist() == pytest.approx([0.99, 1e3 * BUCKETS[-1]])


def test_totals_are_what_the_metrics_say() -> None:
    metrics = GatewayMetrics()
    for n, status in enumerate((200, 200, 404, 429, 499, 500, 503)):
        metrics.observe("GET", "/v1/search", status, BUCKETS[n])
    for route in ("/", "/healthz", "/v1/stats", "/v1/stats/slow"):
        metrics.observe("GET", route, 200, 1.0)
    totals = metrics.totals
    assert (totals.requests, totals.failed, totals.refused, totals.rejected) == (7, 2, 1, 2)
    text = generate_latest(metrics.registry).decode()
    counts = re.findall(r'request_seconds_bucket{le="[^"]+",route="/v1/search"} (\d+)', text)
    assert totals.latency() == list(map(int, counts))


@pytest.fixture
async def app(upstreams: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """A gateway in this test's own event loop, which reads its figures when it is told to."""
    fakes, urls = upstreams
    fakes.reset()
    made = build(GatewaySettings(**urls, data_dir=tmp_path / "gateway"))
    yield made
    await made.state.services.torchserves.close()
    await made.state.services.index.close()


async def test_a_reading_has_what_every_part_tells(app: Any, upstreams: Any) -> None:
    fakes, _ = upstreams
    fakes.torchserve.metrics, fakes.index.metrics = WORKERS, INDEX
    history = app.state.services.history
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        assert (await client.post("/v1/embeddings", json={"input": "a"})).status_code == 200
        assert (await client.get("/v1/collections/none")).status_code == 404
        assert (await client.post("/v1/captions", json={"image": picture_uri("cat")})).status_code == 200
        fakes.index.down = True
        assert (await client.get("/v1/collections")).status_code == 503
        await history.take()
        told = (await client.get("/v1/stats/history?range=5m")).json()
    row = {name: history.rows()[0, place].tolist() for name, place in PLACES.items()}
    counts = {name: row[name] for name in ("requests", "failed", "rejected", "refused", "jobs", "waiting")}
    assert counts == {"requests": [4], "failed": [1], "rejected": [1], "refused": [0], "jobs": [0], "waiting": [0]}
    assert [row[name][-1] for name in HISTOGRAMS] == [4, 2, 2]
    assert [row[name][0] for name in ("batches", "batch_requests", "pass_items", "pass_capacity")] == [5, 12, 40, 80]
    assert [row[name][0] for name in ("cache_hits", "cache_misses", "recall", "index_bytes")] == [7, 0, 0.97, 3.5e8]
    assert row["gateway_bytes"][0] > 1e6
    assert math.isnan(row["workers_bytes"][0])
    assert (told["time"], told["step_s"]) == ([], 5)
    assert told["endpoints"] == ["clip_text", "clip_image", "clip_multimodal", "clip_caption"]
    assert told["captions"] is True
    assert [row[f"caption_{name}"][0] for name in ("rows", "waiting", "cache_bytes")] == [12, 3, 4096]
    assert [row[name][0] for name in ("captions", "caption_tokens")] == [1, 4]


async def test_parts_that_are_down_are_unknown_and_no_news(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They are asked again in a few seconds: a line each time would fill the log."""
    services = app.state.services
    history = build(GatewaySettings(**NOWHERE, data_dir=services.settings.data_dir)).state.services.history
    with caplog.at_level("INFO"):
        await history.take()
    row = {name: history.rows()[0, place] for name, place in PLACES.items()}
    unknown = {name for name, values in row.items() if np.isnan(values).any()}
    batches = {name for name in COUNTERS if name.startswith(("batch", "pass", "cache"))}
    captions = {"caption_rows", "caption_waiting", "caption_cache_bytes"}
    assert unknown == {*batches, *captions, "queued", "recall", "workers_bytes", "index_bytes"}
    assert [record.message for record in caplog.records] == []


async def test_a_reading_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    readings = iter([RuntimeError("no"), {"requests": 1.0}])

    async def read() -> Figures:
        reading = next(readings)
        if isinstance(reading, Exception):
            raise reading
        return reading

    history = History(read)
    await history.take()
    assert "a reading of the history failed" in caplog.text
    assert len(history) == 0
    await history.take()
    assert len(history) == 1


async def test_readings_are_taken_until_it_is_stopped() -> None:
    taken = asyncio.Event()

    async def read() -> Figures:
        if len(history) >= 2:
            taken.set()
        return {}

    history = History(read, every_s=0.001)
    await history.start()
    await asyncio.wait_for(taken.wait(), PATIENCE_S)
    await history.stop()
    count = len(history)
    await asyncio.sleep(0.01)
    assert len(history) == count


@pytest.mark.parametrize("query", ["range=2h", "range=", "range=5m&range=1h", "since=0"])
def test_other_ranges_are_refused(stack: Any, query: str) -> None:
    assert stack.client.get(f"/v1/stats/history?{query}").status_code == 400


def test_looking_at_the_figures_changes_none(stack_of: Any) -> None:
    stack = stack_of()
    for path in ("/v1/stats", "/v1/stats/history", "/v1/stats/slow"):
        assert stack.client.get(path).status_code == 200
    assert stack.client.get("/v1/stats").json()["requests"]["total"] == 0
    assert stack.client.get("/v1/stats/slow").json() == {"requests": []}
