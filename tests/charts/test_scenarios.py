"""Every scenario under ci/ renders, is valid for three versions of Kubernetes, and keeps the rules for pods."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.charts.helm import CHART, SCENARIOS, TOOLS, VERSIONS, Manifest, helm, of_kind, pods, rendered, scenario

BUILT_IN = ("v1", "apps/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1", "batch/v1")
OPERATORS = {"HTTPRoute", "ScaledObject", "ServiceMonitor"}  # their schemas come with their operators


def name(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


def test_there_are_a_dozen() -> None:
    assert len(SCENARIOS) >= 12


@pytest.mark.parametrize("path", SCENARIOS, ids=name)
def test_lint(path: Path) -> None:
    helm("lint", "--strict", str(CHART), *scenario(path))


@pytest.mark.parametrize("version", VERSIONS)
def test_all_are_valid(version: str, tmp_path: Path) -> None:
    """In one call, since reading the schemas takes longer than using them."""
    files = []
    for path in SCENARIOS:
        if "volume" in path.read_text() and version == "1.29.0":
            continue  # there were no image volumes yet
        manifests = rendered(*scenario(path), version=version)
        others = {each["kind"] for each in manifests if each["apiVersion"] not in BUILT_IN}
        assert others <= OPERATORS, others
        for at, each in enumerate(manifests):
            if each["kind"] not in OPERATORS:
                file = tmp_path / f"{name(path)}-{at}.yaml"
                file.write_text(yaml.safe_dump(each))
                files.append(str(file))
    command = [str(TOOLS / "python"), "-m", "kubernetes_validate", "--strict", "--quiet", "-k", version, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    """The validator refuses a name that Kubernetes does not know, where helm renders it."""
    (service,) = of_kind(rendered(), "Service", "index")
    service["spec"]["prots"] = []
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump(service))
    command = [str(TOOLS / "python"), "-m", "kubernetes_validate", "--strict", "--quiet", "-k", "1.35.0", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "prots" in done.stdout + done.stderr


@pytest.mark.parametrize("path", SCENARIOS, ids=name)
def test_policies(path: Path) -> None:
    manifests = rendered(*scenario(path))
    assert [finding for pod, spec in pods(manifests) for finding in findings(pod, spec)] == []


def findings(pod: str, spec: Manifest) -> Iterator[str]:
    """What the profile `restricted` of Pod Security refuses, and what we ask for beyond it."""
    security = spec.get("securityContext", {})
    rules = {
        "may run as root": security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0,
        "has no seccomp profile": security.get("seccompProfile") == {"type": "RuntimeDefault"},
        "mounts a token": spec.get("automountServiceAccountToken") is False,
        "uses the host's namespaces": not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
        "has a volume of the host": not any("hostPath" in volume for volume in spec.get("volumes", [])),
    }
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        place = container["name"]
        rules |= {
            f"{place} may gain rights": own.get("allowPrivilegeEscalation") is False,
            f"{place} keeps capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            f"{place} may write its root": own.get("readOnlyRootFilesystem") is True,
            f"{place} has no bound on memory": "memory" in container.get("resources", {}).get("limits", {}),
            f"{place} asks for no resources": {"cpu", "memory"} <= set(container["resources"].get("requests", {})),
            f"{place} has an image without a version": ":" in container["image"],
        }
    yield from (f"{pod}: {fault}" for fault, holds in rules.items() if not holds)


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
