"""Grafana's dashboards as data: rows of panels, each with PromQL, a unit and what its lines are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]
_W = "$__rate_interval"


class Panel(NamedTuple):
    """`queries`: legend → PromQL."""

    title: str
    unit: str
    queries: dict[str, str]


def _quantiles(metric: str, by: str = "", where: str = "") -> dict[str, str]:
    labels, legend = f"le, {by}" if by else "le", f" {{{{{by}}}}}" if by else ""
    rate = f"sum by ({labels}) (rate({metric}_bucket{{{where}}}[{_W}]))"
    return {f"p{q}{legend}": f"histogram_quantile(0.{q}, {rate})" for q in (50, 99)}


def _rate(metric: str, by: str) -> dict[str, str]:
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate({metric}[{_W}]))"}


def _ratio(part: str, whole: str, by: str) -> dict[str, str]:
    return {f"{{{{{by}}}}}": f"sum by ({by}) (rate({part}[{_W}])) / sum by ({by}) (rate({whole}[{_W}]))"}


def _value(metric: str, legend: str) -> dict[str, str]:
    return {legend: metric}


DASHBOARDS: dict[str, Sequence[Panel]] = {
    "Service": (
        Panel("Requests", "reqps", _rate("clipserve_gateway_requests_total", "route")),
        Panel("Answers by status", "reqps", _rate("clipserve_gateway_requests_total", "status")),
        Panel("Time of searches", "s", _quantiles("clipserve_gateway_request_seconds", where='route="/v1/search"')),
        Panel("Waits", "s", _quantiles("clipserve_gateway_wait_seconds", "stage")),
        Panel("In flight", "short", _value("clipserve_gateway_requests_in_flight", "{{instance}}")),
        Panel("Items at endpoints", "short", _value("clipserve_gateway_endpoint_items", "{{endpoint}} {{state}}")),
        Panel("TorchServe's queue", "short", _value("clipserve_gateway_endpoint_queue_requests", "{{endpoint}}")),
        Panel("Workers", "short", _value("clipserve_gateway_endpoint_workers", "{{endpoint}} {{status}}")),
        Panel("Refused for overload", "reqps", _rate("clipserve_gateway_shed_total", "endpoint")),
        Panel("Memory", "bytes", _value("clipserve_gateway_memory_bytes", "{{instance}} {{owner}}")),
    ),
    "Encoders": (
        Panel("Batches", "ops", _rate("clipserve_batches", "ModelName")),
        Panel("Requests in a batch", "short", _ratio("clipserve_batch_requests", "clipserve_batches", "ModelName")),
        Panel("Batch sizes", "short", _quantiles("clipserve_batch_size", "ModelName")),
        Panel("Time to encode", "s", _quantiles("clipserve_encode_seconds", "ModelName")),
        Panel("Where workers spend time", "percentunit", _rate("clipserve_stage_seconds", "Stage")),
        Panel("Fill of passes", "percentunit", _ratio("clipserve_pass_items", "clipserve_pass_capacity", "ModelName")),
        Panel("Padding", "percentunit", _ratio("clipserve_padding_tokens", "clipserve_tokens", "ModelName")),
        Panel("Cache hits", "ops", _rate("clipserve_cache_hits", "ModelName")),
        Panel("Cache misses", "ops", _rate("clipserve_cache_misses", "ModelName")),
        Panel("Cache", "bytes", _value("clipserve_cache_bytes", "{{ModelName}} {{WorkerName}}")),
        Panel("Errors", "ops", _rate("clipserve_errors", "Code")),
        Panel("Memory", "bytes", _value("clipserve_memory_bytes", "{{ModelName}} {{WorkerName}} {{Owner}}")),
        Panel("Memory of TorchServe's JVM", "bytes", {"JVM": "max by (instance) (clipserve_jvm_memory_bytes)"}),
        Panel("GPU memory", "bytes", _value("clipserve_gpu_memory_bytes", "{{ModelName}} {{WorkerName}} {{State}}")),
    ),
    "Captions": (
        Panel("Captions", "ops", _rate("clipserve_gateway_captions_total", "endpoint")),
        Panel("Tokens", "ops", _rate("clipserve_gateway_caption_tokens_total", "endpoint")),
        Panel(
            "Time until a stream's first piece", "s", _quantiles("clipserve_gateway_caption_first_seconds", "endpoint")
        ),
        Panel("Time at the captioner", "s", _quantiles("clipserve_caption_seconds", "ModelName")),
        Panel("Time to the first word", "s", _quantiles("clipserve_caption_first_token_seconds", "ModelName")),
        Panel("Texts under way", "short", _value("clipserve_caption_rows", "{{instance}} {{ModelName}}")),
        Panel("Captions that wait", "short", _value("clipserve_caption_waiting", "{{instance}} {{ModelName}}")),
        Panel("Keys and values", "bytes", _value("clipserve_caption_cache_bytes", "{{instance}} {{ModelName}}")),
        Panel("Clients that left", "ops", _rate("clipserve_captions_cancelled", "ModelName")),
        Panel("Tokens computed", "ops", _rate("clipserve_caption_tokens", "ModelName")),
    ),
    "Index": (
        Panel("Searches", "ops", {"searches": f"sum(rate(clipserve_index_searches_total[{_W}]))"}),
        Panel("Time in the engines", "s", _quantiles("clipserve_index_search_seconds")),
        Panel("Calls by route", "reqps", _rate("clipserve_index_requests_total", "route")),
        Panel("Items", "short", _value("clipserve_index_items", "{{collection}}")),
        Panel("Writes", "ops", {"items": f"sum(rate(clipserve_index_upserted_items_total[{_W}]))"}),
        Panel("Delta", "short", _value("clipserve_index_delta_rows", "{{collection}}")),
        Panel("Tombstones", "short", _value("clipserve_index_tombstones", "{{collection}}")),
        Panel("Merges", "ops", {"merges": f"sum(rate(clipserve_index_merge_seconds_count[{_W}]))"}),
        Panel("Measured recall", "percentunit", _value("clipserve_index_recall", "{{collection}} top {{k}}")),
        Panel("Disk", "bytes", _value("clipserve_index_disk_bytes", "{{kind}}")),
        Panel("Disk left", "bytes", _value("clipserve_index_disk_free_bytes", "{{instance}}")),
        Panel("Memory", "bytes", _value("clipserve_index_memory_bytes", "{{instance}} {{owner}}")),
    ),
    "Jobs": (
        Panel("Entries", "ops", _rate("clipserve_gateway_job_items_total", "outcome")),
        Panel("Jobs that ended", "short", {"{{state}}": "sum by (state) (increase(clipserve_gateway_jobs_total[1h]))"}),
        Panel("Thumbnails", "ops", _rate("clipserve_gateway_pictures_total", "outcome")),
        Panel("Kept pictures", "bytes", _value("clipserve_gateway_picture_bytes", "{{instance}}")),
    ),
}


def dashboard(title: str, panels: Sequence[Panel]) -> Json:
    """As Grafana imports it, from version 9 on; the Prometheus to ask is chosen in it."""
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": f"clipserve {title}",
        "uid": f"clipserve-{title.lower()}",
        "tags": ["clipserve"],
        "schemaVersion": 37,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source]},
        "panels": [_panel(place, panel) for place, panel in enumerate(panels)],
    }


def _panel(place: int, panel: Panel) -> Json:
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [
        {"refId": chr(ord("A") + i), "expr": query, "legendFormat": legend, "datasource": source}
        for i, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"h": 8, "w": 12, "x": 12 * (place % 2), "y": 8 * (place // 2)},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
