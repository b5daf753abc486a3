"""The Helm chart over its scenario files: what Kubernetes' own schemas refuse, and what breaks the rules for pods."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from benchmarks.ship.helm import SCENARIOS, TOOLS, VERSIONS, Manifest, pods, rendered, scenario
from benchmarks.ship.missing import NotHereError

BUILT_IN = ("v1", "apps/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1", "batch/v1")
_IMAGE_VOLUMES_SINCE = "1.33.0"
# Source: Kubernetes' Pod Security Standards, `restricted`; images since 1.33.
_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def name(path: Path) -> str:
    """Of a scenario, from its file."""
    return path.name.removesuffix("-values.yaml")


def scenarios(version: str) -> Sequence[Path]:
    """Those that this version of Kubernetes can run."""
    return [path for path in SCENARIOS if version >= _IMAGE_VOLUMES_SINCE or "volume" not in path.read_text()]


def refused(manifests: Mapping[str, Manifest], version: str) -> str:
    """What the strict validator says of those that it refuses; empty: none. One call, since it reads the schemas."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{place}.yaml") for place in manifests]
        for file, manifest in zip(files, manifests.values(), strict=True):
            file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
        command = [str(TOOLS / "python"), "-m", "kubernetes_validate", "--strict", "--quiet", "-k", version]
        done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    return said if done.returncode != 0 or "ERROR" in said else ""


def manifests_of_all(version: str) -> dict[str, Manifest]:
    """Scenario and number → each manifest whose schema comes with Kubernetes, and not with an operator.

    Most are the same in many scenarios; each stands here once, since validating takes a tenth of a second.
    """
    found = {
        json.dumps(manifest): (f"{name(path)}-{at}", manifest)
        for path in scenarios(version)
        for at, manifest in enumerate(rendered(*scenario(path), version=version))
        if manifest["apiVersion"] in BUILT_IN
    }
    return dict(found.values())


def findings(pod: str, spec: Manifest) -> Iterator[str]:
    """What the profile `restricted` of Pod Security refuses, and what we ask for beyond it."""
    security = spec.get("securityContext", {})
    rules = {
        "may run as root": security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0,
        "has no seccomp profile": security.get("seccompProfile") == {"type": "RuntimeDefault"},
        "mounts a token": spec.get("automountServiceAccountToken") is False,
        "uses the host's namespaces": not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
        "has a volume of a kind that is refused": all(_VOLUMES & set(volume) for volume in spec.get("volumes", [])),
    }
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        place = container["name"]
        rules |= {
            f"{place} may gain rights": own.get("allowPrivilegeEscalation") is False,
            f"{place} keeps capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            f"{place} opens a port of the host": not any("hostPort" in port for port in container.get("ports", [])),
            f"{place} may write its root": own.get("readOnlyRootFilesystem") is True,
            f"{place} has no bound on memory": "memory" in container.get("resources", {}).get("limits", {}),
            f"{place} asks for no resources": {"cpu", "memory"} <= set(container["resources"].get("requests", {})),
            f"{place} has an image without a version": ":" in container["image"],
        }
    yield from (f"{pod}: {fault}" for fault, holds in rules.items() if not holds)


def figures() -> dict[str, float]:
    """How many scenario files were rendered, schemas that refused some of them, findings. Raises NotHereError."""
    if not (TOOLS / "helm").exists():
        raise NotHereError("helm is not installed: make setup-charts")
    found = [finding for path in SCENARIOS for pod in pods(rendered(*scenario(path))) for finding in findings(*pod)]
    versions = [version for version in VERSIONS if refused(manifests_of_all(version), version)]
    return {
        "chart_scenarios": float(len(SCENARIOS)),
        "chart_versions_refusing": float(len(versions)),
        "chart_policy_findings": float(len(found)),
    }
