"""docker/compose.yaml: what it opens, what it holds back, and names that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.trace import sampling

from clip_core.tracing.settings import wants_traces
from scripts.settings_table import rows

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker" / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
OURS = ("archives", "index", "encoder", "gateway")


def test_only_the_gateway_has_a_port_here() -> None:
    """And Grafana and Jaeger, which are asked for by a profile, on loopback."""
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway", "jaeger", "grafana"]
    assert SERVICES["jaeger"]["ports"] == ["127.0.0.1:${CLIPSERVE_JAEGER_PORT:-16686}:16686"]
    assert SERVICES["grafana"]["ports"] == ["127.0.0.1:${CLIPSERVE_GRAFANA_PORT:-3000}:3000"]
    assert SERVICES["gateway"]["ports"] == ["${CLIPSERVE_ADDRESS:-127.0.0.1}:${CLIPSERVE_PORT:-8000}:8000"]
    assert [
        name
        for name in ("index", "encoder", "redis", "postgres", "milvus", "prometheus")
        if SERVICES[name]["networks"] != ["inside"]
    ] == []


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
    assert {key for key in service.get("environment", {}) if key.startswith("CLIPSERVE_")} <= known


def test_stops_are_longer_than_what_drains() -> None:
    grace = {name: int(SERVICES[name]["stop_grace_period"].removesuffix("s")) for name in OURS if name != "archives"}
    patience = {name: int(default.strip("`")) for name, _, _, default, _ in rows() if name.endswith("STOP_TIMEOUT_S")}
    assert grace["gateway"] > patience["CLIPSERVE_GATEWAY_STOP_TIMEOUT_S"]
    assert grace["index"] > patience["CLIPSERVE_INDEX_STOP_TIMEOUT_S"]
    assert grace["encoder"] > 15  # CLIPSERVE_STOP_TIMEOUT


def test_secrets_are_no_environment() -> None:
    assert "api_keys" not in str(SERVICES["gateway"]["environment"]).lower()
    assert SERVICES["gateway"]["secrets"][0]["target"] == "clipserve_gateway_api_keys"


def test_debians_compose_takes_it(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    keys = {name: str(tmp_path / "keys") for name in ("CLIPSERVE_KEYS_FILE", "CLIPSERVE_METRICS_KEY_FILE")}
    assert set(composed(keys, "config", "--services").split()) == set(SERVICES)


def test_passwords_may_be_files() -> None:
    files = ("--file", str(FILE.with_name("compose.postgres.yaml")))
    services = yaml.safe_load(composed({}, *files, "--profile", "postgres", "config"))["services"]
    given = {each["target"] for each in services["gateway"]["secrets"]}
    assert given == {"clipserve_gateway_api_keys", "clipserve_gateway_database_url"}
    assert (
        services["gateway"]["environment"].get("CLIPSERVE_GATEWAY_DATABASE_URL") is None
    )  # "" would win over the file
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"
    assert not services["postgres"]["environment"]["POSTGRES_PASSWORD"]  # the image refuses both


def composed(environment: Mapping[str, str], *words: str) -> str:
    """What docker-compose prints."""
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    command = [compose, "--file", str(FILE), *words]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("endpoint", ["", "http://jaeger:4318"])
def test_traces_leave_where_an_endpoint_is_given(endpoint: str) -> None:
    """And the SDK understands the sampler that goes with it."""
    found = yaml.safe_load(composed({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, "config"))["services"]
    for name in ("gateway", "encoder", "index"):
        assert wants_traces(found[name]["environment"]) == bool(endpoint)
        assert found[name]["environment"]["OTEL_TRACES_SAMPLER"] in sampling._KNOWN_SAMPLERS


def test_what_the_page_says_to_set_reaches_a_service() -> None:
    """A variable "in front of `docker compose`" is one that the file takes."""
    text = FILE.read_text(encoding="utf-8")
    section = (
        (ROOT / "docs" / "deploying.md")
        .read_text(encoding="utf-8")
        .partition("## One machine")[2]
        .partition("\n## ")[0]
    )
    named = set(re.findall(r"`((?:CLIPSERVE|OTEL|AWS)_[A-Z_]+[A-Z])\b", section))
    assert len(named) > 15
    assert [name for name in sorted(named) if f"${{{name}" not in text and f"{name}:\n" not in text] == []


def test_jaeger_is_reached_by_all_who_trace() -> None:
    assert [
        name for name in ("gateway", "encoder", "index", "jaeger") if "inside" not in SERVICES[name]["networks"]
    ] == []


def test_what_a_profile_brings() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items() if name not in OURS}
    observe = {name: ["observe"] for name in ("prometheus", "alertmanager", "jaeger", "grafana")}
    assert profiles == {name: [name] for name in ("redis", "postgres", "milvus", "tools")} | observe


def test_the_command_line_reaches_what_has_no_port_here() -> None:
    """By the variables of its options; and keeps its files."""
    tools = SERVICES["tools"]
    sources = "".join(path.read_text() for path in (ROOT / "scripts" / "commands").glob("*_command*.py"))
    given = {name: value for name, value in tools["environment"].items() if f'envvar="{name}"' in sources}
    assert given == tools["environment"]
    assert (given["CLIPSERVE_INDEX_URL"], given["CLIPSERVE_URL"]) == ("http://index:8090", "http://gateway:8000")
    assert SERVICES["index"]["environment"]["CLIPSERVE_INDEX_ALLOWED_HOSTS"] == "index"
    assert (tools["build"], tools["volumes"]) == (SERVICES["archives"]["build"], ["tools:/data"])
    assert "WORKDIR /data" in (ROOT / "docker" / "Dockerfile").read_text()


def test_files_that_are_mounted_exist() -> None:
    mounted = re.findall(r"(?<![\w.])\./((?:observe|milvus)/[\w.-]+)", FILE.read_text())
    assert len(mounted) == 5
    assert [name for name in mounted if not (FILE.parent / name).is_file()] == []


def test_prometheus_asks_services_that_exist() -> None:
    config = yaml.safe_load((FILE.parent / "observe" / "prometheus.yml").read_text())
    targets = [job["static_configs"][0]["targets"] for job in config["scrape_configs"]]
    assert [target.split(":")[0] for (target,) in targets] == ["gateway", "encoder", "index"]
    assert SERVICES["prometheus"]["secrets"] == ["metrics_key"]


@pytest.mark.parametrize(
    ("program", "words", "name"),
    [
        ("promtool", ["check", "config", "--syntax-only"], "prometheus.yml"),
        ("amtool", ["check-config"], "alertmanager.yml"),
    ],
)
def test_what_is_observed_is_valid(program: str, words: list[str], name: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (apt-get install prometheus prometheus-alertmanager)")
    subprocess.run([program, *words, str(FILE.parent / "observe" / name)], check=True)
