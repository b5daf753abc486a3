"""What a stack's own Prometheus and Alertmanager run with: the shipped files with this stack's addresses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.monitoring.write import FOLDER

Json = dict[str, Any]
GATEWAY, TORCHSERVE, INDEX = "clipserve-gateway", "clipserve-torchserve", "clipserve-index"
SCALER = "clipserve-scaler"


def shipped(name: str) -> Json:
    """A file of monitoring/."""
    found: Json = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


def prometheus_config(
    targets: Mapping[str, str], alertmanager: str | None = None, key_file: Path | None = None
) -> Json:
    """`targets`: HOST:PORT by job; shipped jobs of others are left out. `key_file`: with what the gateway is asked."""
    config = shipped("prometheus.yml") | {"rule_files": [str(FOLDER / "rules.yml")]}
    config["alerting"] = {"alertmanagers": [_static(alertmanager)] if alertmanager else []}
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [
        {"job_name": name} | jobs.get(name, {}) | _static(address) for name, address in targets.items()
    ]
    for job in config["scrape_configs"]:
        if key_file is not None and job["job_name"] == GATEWAY:
            job["authorization"] = {"credentials_file": str(key_file)}
    return config


def _static(address: str) -> Json:
    return {"static_configs": [{"targets": [address]}]}


def prometheus_command(program: str, config: Path, series: Path, port: int) -> list[str]:
    return [
        *(program, f"--config.file={config}", f"--storage.tsdb.path={series}", "--storage.tsdb.retention.size=1GB"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]


def alertmanager_command(program: str, config: Path, alerts: Path, port: int) -> list[str]:
    """Alone: it looks for no others."""
    return [
        *(program, f"--config.file={config}", f"--storage.path={alerts}", "--cluster.listen-address="),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
