"""helm as it is installed by `make setup-charts`, and what a chart renders."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "k8s" / "helm" / "clipserve"
TOOLS = ROOT / ".venv" / "charts" / "bin"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
VERSIONS = ("1.29.0", "1.32.0", "1.35.0")
Manifest = dict[str, Any]


class HelmError(Exception):
    """helm refuses; the message is its own."""


def helm(*words: str, environment: Mapping[str, str] | None = None) -> str:
    """What it prints. Raises HelmError."""
    given = {**os.environ, "KUBECONFIG": os.devnull, **(environment or {})}
    done = subprocess.run([str(TOOLS / "helm"), *words], env=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return done.stdout


def rendered(*words: str, version: str = VERSIONS[-1], values: Mapping[str, Any] | None = None) -> list[Manifest]:
    """Every manifest of a release named `r`. `values` are JSON, laid over those of `words`. Raises HelmError."""
    given = [word for key, value in (values or {}).items() for word in ("--set-json", f"{key}={json.dumps(value)}")]
    return [manifest for manifest in yaml.safe_load_all(_text(version, *words, *given)) if manifest]


@cache
def _text(version: str, *words: str) -> str:
    return helm("template", "r", str(CHART), "--namespace", "search", "--kube-version", version, *words)


def scenario(path: Path) -> Sequence[str]:
    return ("--values", str(path))


def of_kind(manifests: Sequence[Manifest], kind: str, name: str = "") -> list[Manifest]:
    """Those of a kind whose name ends so."""
    return [each for each in manifests if each["kind"] == kind and each["metadata"]["name"].endswith(name)]


def pods(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name → the spec of each kind of pod that the manifests make."""
    for each in manifests:
        if each["kind"] == "CronJob":
            yield each["metadata"]["name"], each["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]
