"""All values are gathered until the next report, and nothing is written but what is declared."""

from __future__ import annotations

from types import SimpleNamespace

from clip_core.encode.embedding_cache import CacheStats
from clip_core.serving.metrics import WorkerMetrics, count_cache, count_passes, declared
from clip_core.serving.transport import worker_name
from clip_core.towers.pass_counts import PassCounts
from tests.waiting import until


class Written:
    def __init__(self) -> None:
        self.lines: list[tuple[float, list[str]]] = []

    def add_or_update(self, value: float, dimension_values: list[str]) -> None:
        self.lines.append((value, dimension_values))


def test_counters_are_summed_and_the_last_gauge_counts() -> None:
    hits, held = Written(), Written()
    metrics = WorkerMetrics({"hits": hits, "held": held}, ("m",))
    for n in (1, 2, 0):
        metrics.add("hits", n, "text")
        metrics.set("held", n, "9000")
    assert hits.lines == held.lines == []
    metrics.report()
    metrics.report()
    assert hits.lines == [(3, ["m", "text"])]
    assert held.lines == [(0, ["m", "9000"])]


def test_a_histogram_is_counters_of_cumulative_buckets() -> None:
    buckets, total, count = Written(), Written(), Written()
    metrics = WorkerMetrics({"s_bucket": buckets, "s_sum": total, "s_count": count}, ("m",))
    for seconds in (0.5, 0.3, 20.0):
        metrics.observe("s", seconds)
    assert buckets.lines == []
    metrics.report()
    metrics.report()
    assert buckets.lines == [(2, ["m", le]) for le in ("0.5", "1.0", "2.5", "10.0")] + [(3, ["m", "+Inf"])]
    assert total.lines == [(20.8, ["m"])]
    assert count.lines == [(3, ["m"])]


def test_what_is_not_declared_is_dropped() -> None:
    metrics = WorkerMetrics({}, ("m",))
    metrics.add("a", 1)
    metrics.observe("b", 1.0)
    metrics.report()


def test_the_last_batch_before_a_silence_is_reported() -> None:
    hits = Written()
    metrics = WorkerMetrics({"hits": hits}, ("m",), interval_s=0.01)
    metrics.start()
    metrics.add("hits", 1)
    until(lambda: hits.lines)
    metrics.stop()
    assert hits.lines == [(1, ["m"])]


def test_names_come_from_torchserves_context() -> None:
    one, other = Written(), Written()
    context = SimpleNamespace(metrics=SimpleNamespace(cache={"counter": {"a": one}, "gauge": {"b": other}}))
    assert declared(context) == {"a": one, "b": other}
    assert declared(SimpleNamespace()) == {}


def test_fill_and_padding_of_the_passes() -> None:
    tally, names = PassCounts(), ("passes", "pass_items", "pass_capacity", "tokens", "padding_tokens")
    written = {f"clipserve_{name}": Written() for name in names}
    tally.text.add(3, 8, tokens=24, padding=5)
    tally.text.add(1, 8, tokens=77, padding=0)
    tally.image.add(2, 4)
    metrics = WorkerMetrics(written, ("m",))
    count_passes(metrics, tally.take())
    count_passes(metrics, tally.take())
    metrics.report()
    assert [written[f"clipserve_{name}"].lines[0] for name in names] == [
        (value, ["m", "text"]) for value in (2, 4, 16, 101, 5)
    ]
    assert written["clipserve_pass_items"].lines[1] == (2, ["m", "image"])


def test_the_cache_is_counted_by_batch_and_shown_by_worker() -> None:
    names = ("cache_hits", "cache_misses", "cache_evictions", "cache_bytes", "cache_entries")
    written = {f"clipserve_{name}": Written() for name in names}
    metrics = WorkerMetrics(written, ("m",))
    count_cache(metrics, CacheStats(10, 20, 1, 0, 5, 500), CacheStats(12, 25, 1, 0, 7, 700), "9001")
    metrics.report()
    lines = [written[f"clipserve_{name}"].lines for name in names]
    assert lines == [[(2, ["m"])], [(5, ["m"])], [], [(700, ["m", "9001"])], [(7, ["m", "9001"])]]


def test_a_workers_name_is_its_number() -> None:
    assert worker_name(["worker.py", "--sock-type", "unix", "--sock-name", "/tmp/.ts.sock.9002"]) == "9002"
    assert worker_name(["worker.py", "--sock-type", "tcp", "--port", "9003"]) == "9003"
    assert worker_name(["pytest"]) == "0"
