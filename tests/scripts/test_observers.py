"""Prometheus and Alertmanager beside a stack: started, watched, and never a reason to stop what they watch."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from scripts.monitoring.local_configuration import prometheus_config
from scripts.stack.live_stack import free_ports
from scripts.stack.observers import Observers
from scripts.stack.up_settings import UpSettings
from tests.waiting import until

KEY = "a-key-of-scope-admin"
installed = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("prometheus-alertmanager")),
    reason="Debian's prometheus and prometheus-alertmanager are not installed",
)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def settings(tmp_path: Path) -> UpSettings:
    prometheus, alertmanager = free_ports(2)
    return UpSettings(
        observe=True,
        prometheus_port=prometheus,
        alertmanager_port=alertmanager,
        log_dir=tmp_path / "logs",
        restart_limit=1,
    )


@pytest.fixture
def observers(settings: UpSettings, tmp_path: Path, told: list[str]) -> Iterator[Observers]:
    made = Observers(settings, tmp_path / "observe", told.append)
    yield made
    made.stop()


@contextmanager
def gateway() -> Iterator[str]:
    """Its metrics, for who has the key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["Authorization"] == f"Bearer {KEY}" else 401)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"some_metric 1\n")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def asked(url: str) -> Any:
    """The data of Prometheus's answer; nothing until it answers."""
    try:
        return httpx.get(url).json()["data"]
    except (httpx.HTTPError, ValueError):
        return {}


def is_scraped(prometheus: str) -> bool:
    targets = asked(f"{prometheus}/api/v1/targets").get("activeTargets", [])
    return any(each["labels"]["job"] == "clipserve-gateway" and each["health"] == "up" for each in targets)


@installed
def test_they_observe_a_gateway_that_wants_a_key(observers: Observers, told: list[str], tmp_path: Path) -> None:
    with gateway() as address:
        observers.start(address, KEY)
        assert set(observers.urls) == {"Prometheus", "Alertmanager"}
        url = observers.urls["Prometheus"]
        until(lambda: is_scraped(url), seconds=120)
        until(lambda: asked(f"{url}/api/v1/alertmanagers").get("activeAlertmanagers"), seconds=60)
        assert asked(f"{url}/api/v1/rules")["groups"]
    assert (tmp_path / "observe" / "key").read_text() == KEY
    assert not told


@installed
def test_one_that_ends_is_started_again(observers: Observers, told: list[str]) -> None:
    observers.start("127.0.0.1:9", None)
    url = observers.urls["Prometheus"]
    until(lambda: asked(f"{url}/api/v1/targets"), seconds=60)
    (part,) = observers._stacks["Prometheus"].parts
    part.process.send_signal(signal.SIGKILL)

    def back() -> Any:
        observers.look()
        return told and asked(f"{url}/api/v1/targets")

    until(back, seconds=60)


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **bodies: str) -> None:
    """PATH has these programs and no others."""
    folder.mkdir()
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_what_is_not_installed_is_said(
    observers: Observers, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path / "bin", monkeypatch)
    observers.start("127.0.0.1:9", None)
    observers.look()
    assert not observers.urls
    (line,) = told
    assert line.startswith("--observe starts no Prometheus and no Alertmanager")
    assert "apt install prometheus prometheus-alertmanager" in line


def test_one_that_ends_again_and_again_is_given_up(
    observers: Observers, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = "exec /bin/sleep 600"
    programs(tmp_path / "bin", monkeypatch, alertmanager="echo no such flag; exit 3", prometheus=lives)
    observers.start("127.0.0.1:9", None)

    def given_up() -> bool:
        observers.look()
        return bool(told) and told[-1].startswith("Alertmanager is given up")

    until(given_up)
    assert "no such flag" in told[-1]
    observers.look()
    (prometheus,) = observers._stacks["Prometheus"].parts
    assert prometheus.process.poll() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: UpSettings(observe=True, prometheus_port=8000),
        lambda: UpSettings(observe=True, alertmanager_config=Path("none.yml")),
    ],
)
def test_settings_that_can_not_be(make: Callable[[], UpSettings]) -> None:
    with pytest.raises(ValidationError):
        make()


def test_their_ports_are_free_for_others_unless_they_start() -> None:
    assert UpSettings(prometheus_port=8000).ports["gateway_port"] == 8000
    assert "prometheus_port" not in UpSettings().ports
    assert UpSettings(observe=True).ports["prometheus_port"] == 9090


def test_only_what_is_there_is_scraped() -> None:
    config = prometheus_config({"clipserve-index": "127.0.0.1:8090"})
    assert [job["static_configs"] for job in config["scrape_configs"]] == [[{"targets": ["127.0.0.1:8090"]}]]
    assert config["alerting"] == {"alertmanagers": []}
