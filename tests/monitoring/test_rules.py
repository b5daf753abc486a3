"""Alerts and dashboards: made from the code, about metrics that exist, with a page each; and promtool's own tests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from scripts.monitoring.write import FOLDER, files
from tests.test_docs import ROOT, anchors

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="Debian's package prometheus is not installed")
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
DASHBOARDS = sorted((FOLDER / "grafana").glob("*.json"))
_NAME = re.compile(r"\b((?:clipserve|ts)_[a-zA-Z_]+|clipserve:[\w:]+)\b")


def known() -> set[str]:
    """What processes show, histograms with their three series, and what the rules record."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\| `(clipserve_\w+)`", page, re.MULTILINE))
    series = {f"{name}_{ending}" for name in shown for ending in ("bucket", "sum", "count")}
    return shown | series | {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}


def test_the_files_are_what_the_code_makes() -> None:
    for path, content in files().items():
        assert path.read_text(encoding="utf-8") == content, "run `make docs`"


def test_every_metric_of_a_rule_exists() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            plain = re.sub(r'=~"[^"]*"', "", rule["expr"])
            assert set(_NAME.findall(plain)) <= known(), rule["expr"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_a_dashboard_exists(path: Path) -> None:
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            names = set(_NAME.findall(target["expr"]))
            assert names
            assert names <= known(), target["expr"]


def test_every_alert_has_a_runbook() -> None:
    titles = anchors(ROOT / "docs" / "runbooks.md")
    assert [rule["alert"] for rule in ALERTS if rule["annotations"]["runbook"].partition("#")[2] not in titles] == []


class Case(NamedTuple):
    """`loud` and `also` are series under which the alert fires at `at`, `quiet` those under which it does not."""

    at: str
    loud: dict[str, str]
    quiet: list[dict[str, str]]
    also: Sequence[dict[str, str]] = ()


def requests(status: str, values: str, route: str = "/v1/search") -> dict[str, str]:
    return {f'clipserve_gateway_requests_total{{route="{route}",method="POST",status="{status}"}}': values}


def timed(quick: str, every: str, route: str = "/v1/search") -> dict[str, str]:
    name, labels = "clipserve_gateway_request_seconds", f'route="{route}"'
    return {f'{name}_bucket{{{labels},le="0.5"}}': quick, f"{name}_count{{{labels}}}": every}


def items(state: str, values: str) -> dict[str, str]:
    return {f'clipserve_gateway_endpoint_items{{endpoint="clip_text",state="{state}"}}': values}


_FREE = "clipserve_index_disk_free_bytes"


def worker_start(worker: str) -> str:
    return f'clipserve_worker_start_time_seconds{{job="t",instance="t",ModelName="clip_text",WorkerName="{worker}"}}'


LIMIT = {'clipserve_gateway_endpoint_items_limit{endpoint="clip_text",instance="g"}': "16x100"}
BUSY = requests("200", "0+600x100")
_ERRORS = (*BUSY.items(), *requests("503", "0+60x100").items())
_QUIET_ERRORS: list[dict[str, str]] = [
    BUSY,
    requests("503", "0+1x100"),  # all fail, and hardly any come
    *(
        {**BUSY, **requests("503", "0+60x100", route)}
        for route in ("/metrics", "/v1/health", "/v2/models/{model}/ready")
    ),
]
_COHERE = "/v2/embed"
_SLOW = {**BUSY, **timed("0+300x100", "0+600x100")}
_QUICK = [{**BUSY, **timed("0+600x100", "0+600x100")}, timed("0+0x100", "0+1x100")]
CASES = {
    "ClipserveErrorsFast": Case("1h", dict(_ERRORS), _QUIET_ERRORS),
    "ClipserveErrorsSteady": Case(
        "1h", requests("200", "0+600x100", _COHERE) | requests("503", "0+60x100", _COHERE), _QUIET_ERRORS
    ),
    "ClipserveErrorsSlow": Case("1h", dict(_ERRORS), _QUIET_ERRORS),
    "ClipserveLatencyFast": Case("1h", _SLOW, _QUICK),
    "ClipserveLatencySteady": Case(
        "1h", {**BUSY, **timed("0+300x100", "0+600x100", "/v2/models/{model}/infer")}, _QUICK
    ),
    "ClipserveLatencySlow": Case("1h", _SLOW, _QUICK),
    "ClipserveDown": Case(
        "10m",
        {'up{job="clipserve-index"}': "1x5 0x20"},
        [{'up{job="clipserve-index"}': "1x30"}, {'up{job="x"}': "0x30"}],
    ),
    "ClipserveNoWorker": Case(
        "10m",
        {**LIMIT, 'clipserve_gateway_endpoint_workers{endpoint="clip_text",instance="g",status="LOADING"}': "1x100"},
        [
            {**LIMIT, 'clipserve_gateway_endpoint_workers{endpoint="clip_text",instance="g",status="READY"}': "1x100"},
            {**LIMIT, 'clipserve_scaler_size{endpoint="clip_text",instance="s"}': "0x100"},
        ],
    ),
    "ClipserveScalerBlind": Case(
        "20m",
        {'clipserve_scaler_demand_known{endpoint="clip_text"}': "1x5 0x50"},
        [
            {'clipserve_scaler_demand_known{endpoint="clip_text"}': "1x100"},
            {'clipserve_scaler_demand_known{endpoint="clip_text"}': "0x3 1x50"},  # it has just started
        ],
    ),
    "ClipserveRestarting": Case(
        "15m",
        {'clipserve_gateway_process_start_time_seconds{job="g",instance="g"}': "0+60x100"},
        [
            {'clipserve_gateway_process_start_time_seconds{job="g",instance="g"}': "5x5 9x95"},
            {worker_start("9000"): "5x5 9x95", worker_start("9001"): "5x5 9x95", worker_start("9002"): "5x5 9x95"},
        ],
        [{worker_start("9000"): "1 1 1 1 2 2 2 3 3 3 4x90", worker_start("9001"): "1x100"}],
    ),
    "ClipserveQueueGrowing": Case("20m", items("waiting", "100x100"), [items("waiting", "100 0x3 100 0x90")]),
    "ClipserveShedding": Case(
        "30m",
        {**BUSY, 'clipserve_gateway_shed_total{endpoint="clip_text"}': "0+60x100"},
        [{**BUSY, 'clipserve_gateway_shed_total{endpoint="clip_text"}': "0+1x100"}],
    ),
    "ClipserveRecallLow": Case(
        "1h",
        {'clipserve_index_recall{collection="c",engine="hnsw",k="10"}': "0.8x100"},
        [{'clipserve_index_recall{collection="c",engine="hnsw",k="10"}': "0.97x100"}],
    ),
    "ClipserveCacheUseless": Case(
        "3h",
        {
            'clipserve_cache_hits{ModelName="m"}': "0x300",
            'clipserve_cache_misses{ModelName="m"}': "0+60x300",
            'clipserve_cache_evictions{ModelName="m"}': "0+60x300",
        },
        [
            {
                'clipserve_cache_hits{ModelName="m"}': "0x300",
                'clipserve_cache_misses{ModelName="m"}': "0+60x300",
                'clipserve_cache_evictions{ModelName="m"}': "0x300",
            }
        ],
    ),
    "ClipserveDiskFilling": Case(
        "5h",
        {"clipserve_index_disk_free_bytes": "100000000000-100000000x400"},
        [{"clipserve_index_disk_free_bytes": "100000000000x400"}, {"clipserve_index_disk_free_bytes": "9e10-1000x400"}],
    ),
    "ClipserveMergeStuck": Case(
        "30m",
        {'clipserve_index_merge_failures{collection="c"}': "3x100"},
        [
            {
                'clipserve_index_merge_failures{collection="c"}': "1x100",
                'clipserve_index_delta_rows{collection="c"}': "9x100",
            }
        ],
    ),
    "ClipserveExpiring": Case(
        "1h",
        {'clipserve_gateway_expires_timestamp_seconds{what="key"}': "86400x100"},
        [{'clipserve_gateway_expires_timestamp_seconds{what="certificate"}': "2000000x100"}],
    ),
    "ClipserveGpuMemoryLow": Case(
        "1h",
        {'clipserve_gpu_memory_bytes{ModelName="m",State="free"}': "100000000x100"},
        [
            {
                'clipserve_gpu_memory_bytes{ModelName="m",State="free"}': "2000000000x100",
                'clipserve_gpu_memory_bytes{ModelName="m",State="own"}': "100x100",
            }
        ],
    ),
    "ClipserveJobFailing": Case(
        "20m",
        {'clipserve_gateway_jobs_total{state="failed"}': "0x8 1x50"},
        [{'clipserve_gateway_jobs_total{state="completed"}': "0x8 1x50"}],
    ),
}


def test_every_alert_has_its_cases() -> None:
    assert {rule["alert"] for rule in ALERTS} == set(CASES)


def written(alert: str, case: Case, series: dict[str, str], fires: bool) -> dict[str, Any]:
    samples = [{"labels": "{}", "value": 1}] if fires else []
    expr = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": case.at, "exp_samples": samples}],
    }


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rules_of(alert: str) -> dict[str, Any]:
    """The alert alone, with the ratios that it may compare."""
    own = [rule for rule in ALERTS if rule["alert"] == alert]
    ratios = RULES["groups"][0]["rules"] if "clipserve:" in own[0]["expr"] else []
    return {"groups": [{"name": "tested", "rules": [*ratios, *own]}]}


@needs_promtool
@pytest.mark.parametrize("alert", CASES)
def test_an_alert_rings_and_keeps_silent(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    every = [*((True, loud) for loud in (case.loud, *case.also)), *((False, quiet) for quiet in case.quiet)]
    tests = [written(alert, case, series, fires) for fires, series in every]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules_of(alert)))
    cases = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases))
    promtool("test", "rules", tmp_path / "cases.yml")


@needs_promtool
def test_a_disk_that_fills_is_told_by_what_is_left(tmp_path: Path) -> None:
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "ClipserveDiskFilling"]
    left = {"expr": rule["expr"], "eval_time": "5h", "exp_samples": [{"labels": _FREE, "value": 70e9}]}
    series = [{"series": _FREE, "values": "100000000000-100000000x400"}]
    cases = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [left]}]}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases))
    promtool("test", "rules", tmp_path / "cases.yml")


@needs_promtool
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_expression_of_a_dashboard_is_promql(path: Path, tmp_path: Path) -> None:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    found = [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{place}", "expr": expr} for place, expr in enumerate(found)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


@needs_promtool
def test_the_configurations_are_valid() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")
    amtool = shutil.which("amtool")
    if amtool is not None:
        subprocess.run([amtool, "check-config", FOLDER / "alertmanager.yml"], check=True, capture_output=True)
