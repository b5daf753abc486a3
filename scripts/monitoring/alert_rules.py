"""monitoring/thresholds.yaml → Prometheus's recording and alerting rules.

Budgets are watched as Google's SRE Workbook does (chapter 5): a burn rate over a long window says that it matters, the
same over a short one that it still goes on. A least rate of requests keeps a quiet night from ringing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.request_totals import API, NO_API

Rule = dict[str, Any]
Thresholds = Mapping[str, float]
RUNBOOK = "docs/runbooks.md"
_API = f'route=~"{API}",route!~"{NO_API}"'
_TIMED = 'route=~"/v1/(search|embeddings|multimodalembeddings)|/embeddings|/v2/embed|/v2/models/.*/infer"'
_WINDOWS = ("5m", "30m", "1h", "6h", "3d")
_BURNS = (("Fast", 14.4, "1h", "5m", "page"), ("Steady", 6.0, "6h", "30m", "page"), ("Slow", 1.0, "3d", "6h", "ticket"))


def rules(given: Thresholds) -> dict[str, Any]:
    """The content of a rule file."""
    return {
        "groups": [
            {"name": "clipserve-ratios", "interval": "15s", "rules": list(_recorded(given))},
            {"name": "clipserve-budgets", "interval": "15s", "rules": list(_budgets(given))},
            {"name": "clipserve-causes", "interval": "15s", "rules": list(_causes(given))},
        ]
    }


def _recorded(given: Thresholds) -> Iterator[Rule]:
    for window in _WINDOWS:
        requests = f"sum(rate(clipserve_gateway_requests_total{{{_API}}}[{window}]))"
        failed = f'sum(rate(clipserve_gateway_requests_total{{{_API},status=~"5.."}}[{window}]))'
        timed = f"sum(rate(clipserve_gateway_request_seconds_count{{{_TIMED}}}[{window}]))"
        quick = f'sum(rate(clipserve_gateway_request_seconds_bucket{{{_TIMED},le="{given["latency_s"]:g}"}}[{window}]))'
        yield {"record": f"clipserve:requests:rate{window}", "expr": requests}
        yield {"record": f"clipserve:errors:ratio{window}", "expr": f"({failed} or vector(0)) / {requests}"}
        yield {"record": f"clipserve:slow:ratio{window}", "expr": f"1 - {quick} / {timed}"}


def _budgets(given: Thresholds) -> Iterator[Rule]:
    goals = (
        ("Errors", "errors", 1 - given["availability"], "requests fail"),
        ("Latency", "slow", 1 - given["latency_share"], "searches and embeddings are slow"),
    )
    for title, ratio, budget, text in goals:
        for name, factor, long, short, severity in _BURNS:
            above = f"{factor * budget:g}"
            busy = f"clipserve:requests:rate{long} > {given['least_rate']:g}"
            expr = f"clipserve:{ratio}:ratio{long} > {above} and clipserve:{ratio}:ratio{short} > {above} and {busy}"
            summary = f"{text}: {{{{ $value | humanizePercentage }}}} in {long}, {factor:g} times what the goal allows"
            yield _alert(f"Clipserve{title}{name}", expr, "0s", severity, summary)


def _causes(given: Thresholds) -> Iterator[Rule]:
    workers = 'clipserve_gateway_endpoint_workers{status="READY"} > 0'
    free = "clipserve_index_disk_free_bytes"
    hits, misses = "rate(clipserve_cache_hits[1h])", "rate(clipserve_cache_misses[1h])"
    starts = '{__name__=~"clipserve_(gateway_process|index_process|worker)_start_time_seconds"}'
    table: tuple[tuple[str, str, str, str, str], ...] = (
        ("Down", 'up{job=~"clipserve.*"} == 0', "30s", "page", "{{ $labels.job }} does not answer"),
        (
            "NoWorker",
            f"clipserve_gateway_endpoint_items_limit unless on (instance, endpoint) ({workers}) "
            "unless on (endpoint) (clipserve_scaler_size == 0)",
            "30s",
            "page",
            "{{ $labels.endpoint }} has no READY worker",
        ),
        (
            "Restarting",
            f"max by (job, instance, ModelName) (changes({starts}[15m])) > {given['restarts']:g}",
            "0s",
            "page",
            "{{ $labels.job }} {{ $labels.ModelName }} was started {{ $value }} times in 15 minutes",
        ),
        (
            "QueueGrowing",
            f'min_over_time(clipserve_gateway_endpoint_items{{state="waiting"}}[5m]) > {given["waiting_items"]:g}',
            "0s",
            "page",
            "{{ $value }} items wait for {{ $labels.endpoint }} all the time",
        ),
        (
            "Shedding",
            f"sum(rate(clipserve_gateway_shed_total[5m])) / clipserve:requests:rate5m > {given['shed_share']:g}",
            "5m",
            "ticket",
            "{{ $value | humanizePercentage }} of requests are refused for overload",
        ),
        (
            "RecallLow",
            f"clipserve_index_recall < {given['recall']:g}",
            "30m",
            "ticket",
            "searches of {{ $labels.collection }} find {{ $value | humanizePercentage }} of the best {{ $labels.k }}",
        ),
        (
            "CacheUseless",
            f"sum by (ModelName) ({hits}) / sum by (ModelName) ({hits} + {misses}) < {given['cache_hit_share']:g} "
            "and sum by (ModelName) (rate(clipserve_cache_evictions[1h])) > 0",
            "1h",
            "ticket",
            "the cache of {{ $labels.ModelName }} is full and hits nothing",
        ),
        (
            "DiskFilling",
            f"{free} < {given['disk_free_bytes']:.0f} or "
            f"{free} and predict_linear({free}[6h], {given['disk_full_in_hours'] * 3600:.0f}) < 0",
            "10m",
            "page",
            "the index's disk has {{ $value | humanize1024 }}B left, and may be full within a day",
        ),
        (
            "MergeStuck",
            f"clipserve_index_merge_failures > {given['merge_failures']:g} or "
            f"clipserve_index_delta_rows > {given['delta_rows']:.0f}",
            "10m",
            "ticket",
            "{{ $labels.collection }} is not merged",
        ),
        (
            "Expiring",
            f"clipserve_gateway_expires_timestamp_seconds - time() < {given['expires_in_days'] * 86400:.0f}",
            "10m",
            "ticket",
            "the gateway's {{ $labels.what }} expires in {{ $value | humanizeDuration }}",
        ),
        (
            "GpuMemoryLow",
            f'clipserve_gpu_memory_bytes{{State="free"}} < {given["gpu_free_bytes"]:.0f}',
            "10m",
            "ticket",
            "the GPU of {{ $labels.ModelName }} has {{ $value | humanize1024 }}B left",
        ),
        (
            "ScalerBlind",
            "clipserve_scaler_demand_known == 0",
            "5m",
            "ticket",
            "the scaler does not know what is asked of {{ $labels.endpoint }}, and leaves its size as it is",
        ),
        (
            "JobFailing",
            'increase(clipserve_gateway_jobs_total{state="failed"}[15m]) > 0',
            "0s",
            "ticket",
            "an ingestion job failed",
        ),
    )
    for name, expr, pending, severity, summary in table:
        yield _alert(f"Clipserve{name}", expr, pending, severity, summary)


def _alert(name: str, expr: str, pending: str, severity: str, summary: str) -> Rule:
    notes = {"summary": summary, "runbook": f"{RUNBOOK}#{name.lower()}"}
    return {"alert": name, "expr": expr, "for": pending, "labels": {"severity": severity}, "annotations": notes}
