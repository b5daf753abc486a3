"""`python k8s/render_manifests.py HELM`: writes k8s/manifests/ from the chart, a file a kind, for use without helm.

Values are those of manifests/values.yaml. What the chart brings from monitoring/ is copied into it first, since helm
reads nothing outside a chart's folder. A test fails when any of them differ.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "manifests"
CHART = HERE / "helm" / "clipserve"
NAMES = {"HorizontalPodAutoscaler": "hpa", "PersistentVolumeClaim": "claim", "PodDisruptionBudget": "pdb"}
HEAD = "# Made by `make manifests` from k8s/helm/clipserve and k8s/manifests/values.yaml.\n"
_HELMS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def render(helm: str) -> dict[str, str]:
    """File name → content."""
    command = [helm, "template", "clipserve", str(CHART), "--skip-tests"]
    command += ["--namespace", "clipserve", "--kube-version", "1.32.0", "--values", str(FOLDER / "values.yaml")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    by_kind: dict[str, list[Any]] = {}
    for manifest in filter(None, yaml.safe_load_all(text)):
        for label in _HELMS:
            manifest["metadata"].get("labels", {}).pop(label, None)
        by_kind.setdefault(manifest["kind"], []).append(manifest)
    files = {f"{NAMES.get(kind, kind.lower())}.yaml": HEAD + yaml.safe_dump_all(all_) for kind, all_ in by_kind.items()}
    listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "clipserve"}
    return files | {"kustomization.yaml": HEAD + yaml.safe_dump(listed | {"resources": sorted(files)})}


def monitoring() -> dict[Path, str]:
    """Path in the chart → content."""
    shipped = HERE.parent / "monitoring"
    files = [shipped / "rules.yml", *(shipped / "grafana").glob("*.json")]
    return {CHART / "monitoring" / path.name: path.read_text(encoding="utf-8") for path in files}


if __name__ == "__main__":
    (CHART / "monitoring").mkdir(exist_ok=True)
    for path, content in monitoring().items():
        path.write_text(content, encoding="utf-8")
    for name, content in render(sys.argv[1]).items():
        (FOLDER / name).write_text(content, encoding="utf-8")
