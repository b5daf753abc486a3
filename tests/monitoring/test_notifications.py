"""A real Prometheus and Alertmanager with the shipped files: a worker that is gone rings, and its return is told.

Only addresses and intervals are others than those shipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from gateway.metrics import EndpointLoad, GatewayMetrics
from scripts.monitoring.local_configuration import (
    GATEWAY,
    alertmanager_command,
    prometheus_command,
    prometheus_config,
    shipped,
)
from scripts.stack.live_stack import free_ports
from tests.waiting import until

PROMETHEUS, ALERTMANAGER = shutil.which("prometheus"), shutil.which("prometheus-alertmanager")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (PROMETHEUS and ALERTMANAGER), reason="Debian's prometheus and prometheus-alertmanager are not installed"
    ),
]


class Endpoints:
    """A gateway's `/metrics`, and what the webhook was told."""

    def __init__(self) -> None:
        self.metrics, self.told = GatewayMetrics(), list[dict[str, Any]]()
        self.show(workers=1)

    def show(self, workers: int) -> None:
        ready = {"READY": workers} if workers else {}
        self.metrics.show_loads([EndpointLoad("clip_text", 0, 0, 16, 0, 100, ready)])

    def states(self, alert: str) -> list[str]:
        """Of the alert, in the order in which they were told."""
        return [each["status"] for body in self.told for each in body["alerts"] if each["labels"]["alertname"] == alert]


@contextmanager
def serving(endpoints: Endpoints) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(generate_latest(endpoints.metrics.registry))

        def do_POST(self) -> None:
            endpoints.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(b"")

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def quick_rules() -> dict[str, Any]:
    rules = shipped("rules.yml")
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if rule.get("for") == "30s":
                rule["for"] = "2s"
    return rules


def quick_config(target: int, alertmanager: int) -> dict[str, Any]:
    config = prometheus_config({GATEWAY: f"127.0.0.1:{target}"}, f"127.0.0.1:{alertmanager}")
    intervals = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return config | {"global": intervals, "rule_files": ["rules.yml"]}


def alertmanager_config(webhook: int) -> dict[str, Any]:
    config = shipped("alertmanager.yml")
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        for kind in ("slack_configs", "email_configs"):
            receiver.pop(kind, None)
        for each in receiver.get("webhook_configs", ()):
            each["url"] = f"http://127.0.0.1:{webhook}/alerts"
    return config


@contextmanager
def program(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Endpoints]:
    endpoints, (prometheus, alertmanager) = Endpoints(), free_ports(2)
    with ExitStack() as entered:
        port = entered.enter_context(serving(endpoints))
        for name, content in (
            ("rules.yml", quick_rules()),
            ("prometheus.yml", quick_config(port, alertmanager)),
            ("alertmanager.yml", alertmanager_config(port)),
        ):
            (tmp_path / name).write_text(yaml.safe_dump(content), encoding="utf-8")
        entered.enter_context(
            program(
                alertmanager_command(
                    str(ALERTMANAGER), tmp_path / "alertmanager.yml", tmp_path / "alerts", alertmanager
                )
            )
        )
        entered.enter_context(
            program(prometheus_command(str(PROMETHEUS), tmp_path / "prometheus.yml", tmp_path / "series", prometheus))
        )
        yield endpoints


def test_a_worker_that_is_gone_rings_and_its_return_is_told(watched: Endpoints) -> None:
    watched.show(workers=0)
    until(lambda: "firing" in watched.states("ClipserveNoWorker"), seconds=120)
    watched.show(workers=1)
    until(lambda: watched.states("ClipserveNoWorker")[-1] == "resolved", seconds=120)
    (body, *_) = [each for each in watched.told if each["commonLabels"].get("alertname") == "ClipserveNoWorker"]
    alert = body["alerts"][0]
    assert alert["labels"]["severity"] == "page"
    assert alert["annotations"]["summary"] == "clip_text has no READY worker"
    assert alert["annotations"]["runbook"] == "docs/runbooks.md#clipservenoworker"
