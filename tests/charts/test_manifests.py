"""The plain manifests are the chart's, and kubectl takes them."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import yaml

from benchmarks.ship.helm import CHART, ROOT, TOOLS

FOLDER = ROOT / "k8s" / "manifests"


def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_manifests", ROOT / "k8s" / "render_manifests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_what_the_chart_renders() -> None:
    rendered = renderer().render(str(TOOLS / "helm"))
    written = {path.name: path.read_text() for path in FOLDER.glob("*.yaml") if path.name != "values.yaml"}
    assert written == rendered, "run `make manifests`"


def test_the_chart_has_the_rules_and_dashboards_that_ship() -> None:
    copies: dict[Path, str] = renderer().monitoring()
    assert set(copies) == set((CHART / "monitoring").iterdir())
    assert [path.name for path, text in copies.items() if path.read_text() != text] == [], "run `make manifests`"


def test_kubectl_reads_them_without_a_cluster() -> None:
    command = [str(TOOLS / "kubectl"), "kustomize", str(FOLDER)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kinds = {each["kind"] for each in yaml.safe_load_all(text)}
    assert {"Deployment", "StatefulSet", "Service", "Ingress", "HorizontalPodAutoscaler", "NetworkPolicy"} <= kinds
