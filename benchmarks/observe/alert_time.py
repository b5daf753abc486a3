"""Seconds from a fault to the webhook: a real Prometheus and Alertmanager, with the shipped rules and intervals."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from scripts.monitoring.local_configuration import shipped
from scripts.stack.live_stack import LiveStack
from scripts.stack.observers import Observers
from scripts.stack.up_settings import UpSettings

ALERT, ENDPOINT = "ClipserveNoWorker", "clip_text"
_PATIENCE_S, _LOOK_S = 240.0, 0.2


class FiredAlerts:
    """Names of alerts that a webhook was told of as firing, each with the moment it first was."""

    def __init__(self) -> None:
        self.moments: dict[str, float] = {}
        self._came = threading.Condition()

    def add(self, body: bytes) -> None:
        with self._came:
            for alert in json.loads(body)["alerts"]:
                if alert["status"] == "firing":
                    self.moments.setdefault(alert["labels"]["alertname"], time.monotonic())
            self._came.notify_all()

    def wait(self, name: str) -> float | None:
        with self._came:
            self._came.wait_for(lambda: name in self.moments, _PATIENCE_S)
        return self.moments.get(name)


def alert_figures(stack: LiveStack, folder: Path) -> dict[str, float]:
    """Takes a model out of TorchServe, for good. Nothing where the programs are not installed."""
    if not (shutil.which("prometheus") and shutil.which("prometheus-alertmanager")):
        return {}
    with _webhook() as (fired, url), _observed(stack, folder, url) as prometheus:
        _wait_scraped(prometheus)
        before = set(fired.moments)
        httpx.delete(
            f"http://127.0.0.1:{stack.ports['management_port']}/models/{ENDPOINT}", timeout=60
        ).raise_for_status()
        fault = time.monotonic()
        rang = fired.wait(ALERT)
    false = (before | set(fired.moments)) - {ALERT}
    return {"false_alerts": float(len(false))} | ({} if rang is None else {"alert_s": rang - fault})


@contextmanager
def _observed(stack: LiveStack, folder: Path, webhook: str) -> Iterator[str]:
    """Prometheus's address."""
    folder.mkdir()
    receivers = folder / "receivers.yml"
    receivers.write_text(yaml.safe_dump(_told_by_webhook(webhook)), encoding="utf-8")
    given: dict[str, Any] = {**stack.ports, "alertmanager_config": receivers, "log_dir": folder / "logs"}
    settings = UpSettings(**given, observe=True)
    observers = Observers(settings, folder / "observe", print)
    observers.start(stack.gateway.removeprefix("http://"), None)
    try:
        yield observers.urls["Prometheus"]
    finally:
        observers.stop()


def _told_by_webhook(url: str) -> dict[str, object]:
    """The shipped routes and times."""
    return shipped("alertmanager.yml") | {
        "receivers": [{"name": name, "webhook_configs": [{"url": url}]} for name in ("pages", "tickets")]
    }


def _wait_scraped(prometheus: str) -> None:
    """Raises TimeoutError when that does not come."""
    ends = time.monotonic() + _PATIENCE_S
    query = f"{prometheus}/api/v1/query?query=clipserve_gateway_endpoint_workers"
    while time.monotonic() < ends:
        with suppress(httpx.HTTPError, ValueError):
            if httpx.get(query).json()["data"]["result"]:
                return
        time.sleep(_LOOK_S)
    raise TimeoutError("Prometheus does not scrape the gateway")


@contextmanager
def _webhook() -> Iterator[tuple[FiredAlerts, str]]:
    fired = FiredAlerts()

    class WebhookHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fired.add(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), WebhookHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield fired, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
