"""docker/compose.yaml: what it opens, what it holds back, and names that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.settings_table import rows

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker" / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
OURS = ("archives", "index", "encoder", "gateway")


def test_only_the_gateway_has_a_port_here() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    assert SERVICES["gateway"]["ports"] == ["${CLIPSERVE_ADDRESS:-127.0.0.1}:${CLIPSERVE_PORT:-8000}:8000"]
    assert [name for name in ("index", "encoder", "redis") if SERVICES[name]["networks"] != ["inside"]] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service or name == "archives"


@pytest.mark.parametrize("name", OURS)
def test_its_target_and_its_settings_exist(name: str) -> None:
    service, known = SERVICES[name], {setting for setting, *_ in rows()}
    stages = re.findall(r"^FROM .* AS (\S+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert service["build"]["target"] in stages
    assert set(service.get("environment", {})) <= known


def test_stops_are_longer_than_what_drains() -> None:
    grace = {name: int(SERVICES[name]["stop_grace_period"].removesuffix("s")) for name in OURS if name != "archives"}
    patience = {name: int(default.strip("`")) for name, _, _, default, _ in rows() if name.endswith("STOP_TIMEOUT_S")}
    assert grace["gateway"] > patience["CLIPSERVE_GATEWAY_STOP_TIMEOUT_S"]
    assert grace["index"] > patience["CLIPSERVE_INDEX_STOP_TIMEOUT_S"]
    assert grace["encoder"] > 15  # CLIPSERVE_STOP_PATIENCE


def test_secrets_are_no_environment() -> None:
    assert "api_keys" not in str(SERVICES["gateway"]["environment"]).lower()
    assert SERVICES["gateway"]["secrets"][0]["target"] == "clipserve_gateway_api_keys"


def test_debians_compose_takes_it(tmp_path: Path) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    (tmp_path / "keys").write_text("secret")
    environment = os.environ | {"CLIPSERVE_KEYS_FILE": str(tmp_path / "keys")}
    command = [compose, "--file", str(FILE), "config", "--quiet"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
