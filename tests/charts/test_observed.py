"""Metrics, alerts, dashboards and traces of a release."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.ship.helm import CHART, ROOT, Manifest, of_kind, pods, rendered, scenario
from clip_core.tracing.settings import wants_traces

SHIPPED = ROOT / "monitoring"
SERVING = ("gateway", "encoder-demo", "index")


@cache
def monitored() -> list[Manifest]:
    return rendered(*scenario(CHART / "ci" / "monitored-values.yaml"))


def environments(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    """Pod → name → value, or where it comes from."""
    return {
        pod.removeprefix("r-clipserve-"): {each["name"]: each.get("value", each.get("valueFrom")) for each in given}
        for pod, spec in pods(manifests)
        if (given := spec["containers"][0].get("env"))
    }


def test_nothing_watches_by_default() -> None:
    kinds = {each["kind"] for each in rendered()}
    assert not kinds & {"PrometheusRule", "ServiceMonitor"}
    assert [each["metadata"]["name"] for each in of_kind(rendered(), "ConfigMap")] == ["r-clipserve-models"]
    assert not any(wants_traces(given) for given in environments(rendered()).values())


def test_alerts_are_those_of_the_runbooks(tmp_path: Path) -> None:
    (rule,) = of_kind(monitored(), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((SHIPPED / "rules.yml").read_text(encoding="utf-8"))
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    if promtool := shutil.which("promtool"):
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
        subprocess.run([promtool, "check", "rules", str(tmp_path / "rules.yml")], check=True)


def test_dashboards_are_the_shipped_ones() -> None:
    (found,) = of_kind(monitored(), "ConfigMap", "dashboards")
    assert found["data"] == {path.name: path.read_text() for path in (SHIPPED / "grafana").glob("*.json")}
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "clipserve"}
    assert all(json.loads(text)["panels"] for text in found["data"].values())


def test_jobs_have_the_names_that_alerts_know() -> None:
    """Whatever the release is named: `up{job=~"clipserve.*"}` would else miss it."""
    jobs = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    relabelled = [each["spec"]["endpoints"][0]["relabelings"] for each in of_kind(monitored(), "ServiceMonitor")]
    assert {rules[0]["replacement"] for rules in relabelled} == {job["job_name"] for job in jobs}
    assert {rules[0]["targetLabel"] for rules in relabelled} == {"job"}


def test_labels_of_metrics_are_not_hidden_by_the_operators() -> None:
    """The operator labels a target by its port, as `endpoint`; Prometheus would rename ours to `exported_endpoint`."""
    for monitor in of_kind(monitored(), "ServiceMonitor"):
        assert {"action": "labeldrop", "regex": "endpoint"} in monitor["spec"]["endpoints"][0]["relabelings"]


def test_every_pod_that_serves_sends_traces() -> None:
    traced = rendered(
        values={"tracing": {"endpoint": "http://collector:4318", "env": {"OTEL_TRACES_SAMPLER_ARG": 0.5}}}
    )
    for pod in SERVING:
        given = environments(traced)[pod]
        assert wants_traces(given)
        assert given["OTEL_TRACES_SAMPLER_ARG"] == "0.5"
        assert given["OTEL_RESOURCE_ATTRIBUTES"] == "k8s.namespace.name=search,k8s.pod.name=$(POD_NAME)"


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("http://collector:4318", 4318), ("http://collector", 80), ("https://otlp.example.org/tenant", 443)],
)
def test_traces_may_leave(endpoint: str, port: int) -> None:
    policies = of_kind(rendered(values={"tracing.endpoint": endpoint}), "NetworkPolicy")
    for policy in policies:
        if "Egress" in policy["spec"]["policyTypes"]:
            assert {"ports": [{"port": port, "protocol": "TCP"}]} in policy["spec"]["egress"]


def test_what_a_collector_asks_for_is_a_secret() -> None:
    given = environments(rendered(*scenario(CHART / "ci" / "traced-values.yaml")))
    for pod in SERVING:
        secret = given[pod]["OTEL_EXPORTER_OTLP_HEADERS"]["secretKeyRef"]
        assert secret == {"name": "otlp-headers", "key": "headers"}
        assert given[pod]["OTEL_BSP_MAX_QUEUE_SIZE"] == "4096"
