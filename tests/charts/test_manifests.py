"""The plain manifests are the chart's, and kubectl takes them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import yaml

from benchmarks.ship.chart import findings, refused
from benchmarks.ship.helm import CHART, ROOT, TOOLS, VERSIONS, Manifest, of_kind, pods, rendered

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


def test_the_job_that_builds_archives() -> None:
    """It fills the claim that the defaults mount, and passes what the chart's pods pass."""
    claim, job = yaml.safe_load_all((ROOT / "k8s" / "archives-job.yaml").read_text(encoding="utf-8"))
    assert refused({"claim": claim, "job": job}, VERSIONS[-1]) == ""
    spec = job["spec"]["template"]["spec"]
    assert list(findings("job", spec)) == []
    (encoder,) = of_kind(rendered(), "Deployment", "encoder-demo")
    mounted = [each.get("persistentVolumeClaim", {}) for each in encoder["spec"]["template"]["spec"]["volumes"]]
    assert claim["metadata"]["name"] in [each.get("claimName") for each in mounted]
    assert {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}, "name": "models"} in spec["volumes"]
    assert spec["containers"][0]["args"][:2] == ["archive", "build"]


def kustomized(folder: Path) -> list[Manifest]:
    command = [str(TOOLS / "kubectl"), "kustomize", str(folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return list(yaml.safe_load_all(text))


def test_a_kustomization_names_the_registry(tmp_path: Path) -> None:
    """As docs/deploying.md has it."""
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    (given,) = re.findall(r"```yaml\n(resources: \[k8s/manifests\]\n.*?)```", page, re.DOTALL)
    place = os.path.relpath(FOLDER, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(given.replace("k8s/manifests", place), encoding="utf-8")
    images = [container["image"] for _, spec in pods(kustomized(tmp_path)) for container in spec["containers"]]
    assert len(images) == 3
    assert [image for image in images if not image.startswith("registry.example.org/clipserve/")] == []


def test_kubectl_reads_them_without_a_cluster() -> None:
    kinds = {each["kind"] for each in kustomized(FOLDER)}
    assert {"Deployment", "StatefulSet", "Service", "Ingress", "HorizontalPodAutoscaler", "NetworkPolicy"} <= kinds
