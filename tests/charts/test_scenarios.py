"""Every scenario under ci/ renders, is valid for three versions of Kubernetes, and keeps the rules for pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.ship.chart import BUILT_IN, findings, manifests_of_all, name, refused
from benchmarks.ship.helm import CHART, SCENARIOS, VERSIONS, helm, of_kind, pods, rendered, scenario

OPERATORS = {"HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor"}  # their schemas come with their operators


def test_there_are_a_dozen() -> None:
    assert len(SCENARIOS) >= 12


@pytest.mark.parametrize("path", SCENARIOS, ids=name)
def test_lint(path: Path) -> None:
    helm("lint", "--strict", str(CHART), *scenario(path))


@pytest.mark.parametrize(
    "version", [*(pytest.param(each, marks=pytest.mark.full) for each in VERSIONS[:-1]), VERSIONS[-1]]
)
def test_all_are_valid(version: str) -> None:
    assert refused(manifests_of_all(version), version) == ""


@pytest.mark.parametrize("path", SCENARIOS, ids=name)
def test_kinds_of_operators_are_known(path: Path) -> None:
    """They are not validated, so none slips in by a wrong apiVersion."""
    kinds = {each["kind"] for each in rendered(*scenario(path)) if each["apiVersion"] not in BUILT_IN}
    assert kinds <= OPERATORS


def test_what_is_wrong_is_found() -> None:
    """The validator refuses a name that Kubernetes does not know, where helm renders it."""
    (service,) = of_kind(rendered(), "Service", "index")
    service["spec"]["prots"] = []
    assert "prots" in refused({"service": service}, VERSIONS[-1])


@pytest.mark.parametrize("path", SCENARIOS, ids=name)
def test_policies(path: Path) -> None:
    manifests = rendered(*scenario(path))
    assert [finding for pod, spec in pods(manifests) for finding in findings(pod, spec)] == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hostNetwork": True}, "uses the host's namespaces"),
        ({"automountServiceAccountToken": True}, "mounts a token"),
        ({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, "has a volume of a kind that is refused"),
        ({"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}, "may run as root"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_what_breaks_a_policy_is_found(change: dict[str, Any], found: str) -> None:
    (pod, spec), *_ = pods(rendered())
    assert any(found in finding for finding in findings(pod, {**spec, **change}))


@pytest.mark.parametrize("path", SCENARIOS, ids=name)
def test_probes_and_stops(path: Path) -> None:
    for pod, spec in pods(rendered(*scenario(path))):
        for container in spec["containers"]:
            if not pod.endswith(("-test", "-snapshots")):
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), pod
                assert spec["terminationGracePeriodSeconds"] > container["lifecycle"]["preStop"]["sleep"]["seconds"]


def test_an_older_kubernetes_sleeps_by_a_program() -> None:
    for pod, spec in pods(rendered(version="1.29.0")):
        if not pod.endswith("-test"):
            assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"
