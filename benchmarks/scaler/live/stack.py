"""A real TorchServe with the waiting handler, a real gateway before it, and the scaler where it is asked for."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from scripts.processes import launching
from scripts.processes.preflight import StackStartError, find_java
from scripts.processes.stack import Stack
from scripts.stack import torchserve
from scripts.stack.live_stack import PORTS, free_ports
from scripts.stack.up_settings import UpSettings

ENDPOINT = "waiting"
_START_S = 120.0
_HANDLER = Path(__file__).with_name("waiting_handler.py")


@dataclass(frozen=True)
class WaitingStack:
    """Addresses of the parts, and what starts more of them."""

    gateway: str
    management: str
    folder: Path
    parts: Stack
    scaler_port: int

    def start_scaler(self, **settings: object) -> None:
        """`python -m scaler` with these settings; it is stopped with the rest."""
        told = {
            "gateway_urls": self.gateway,
            "management_url": self.management,
            "actuator": "torchserve",
            "endpoints": ENDPOINT,
            "port": self.scaler_port,
            **settings,
        }
        environment = {f"CLIPSERVE_SCALER_{name.upper()}": str(value) for name, value in told.items()}
        self.parts.start("scaler", launching.module("scaler"), self.folder / "scaler.log", environment)


@contextlib.contextmanager
def waiting_stack(folder: Path, workers: int) -> Iterator[WaitingStack]:
    """Ready, with so many workers. Raises StackStartError when a part stops or takes too long."""
    store = folder / "store"
    _write_model(store / ENDPOINT, workers)
    settings = UpSettings.model_validate(dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    parts = Stack()
    management, gateway = f"http://127.0.0.1:{settings.management_port}", f"http://127.0.0.1:{settings.gateway_port}"
    try:
        properties = torchserve.properties(settings, store, folder, endpoints={ENDPOINT: ENDPOINT})
        command = launching.program(torchserve.command(find_java(), properties, settings, folder))
        parts.start("TorchServe", command, folder / "ts.log", torchserve.environment(settings, folder, folder))
        parts.start("gateway", launching.module("gateway"), folder / "gateway.log", _gateway(settings, folder))
        _wait(parts, gateway)
        yield WaitingStack(gateway, management, folder, parts, settings.scaler_port)
    finally:
        parts.stop()


def _write_model(folder: Path, workers: int) -> None:
    (folder / "MAR-INF").mkdir(parents=True)
    shutil.copy(_HANDLER, folder)
    named = {"modelName": ENDPOINT, "handler": _HANDLER.name, "modelVersion": "1.0", "configFile": "model-config.yaml"}
    manifest = {"createdOn": "", "runtime": "python", "model": named, "archiverVersion": "0.12.0"}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    config = {"minWorkers": workers, "maxWorkers": workers, "batchSize": 1, "maxBatchDelay": 1, "jobQueueSize": 1000}
    (folder / "model-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _gateway(settings: UpSettings, folder: Path) -> dict[str, str]:
    told = {
        "PORT": settings.gateway_port,
        "TORCHSERVE_URL": f"http://127.0.0.1:{settings.inference_port}",
        "MANAGEMENT_URL": f"http://127.0.0.1:{settings.management_port}",
        "METRICS_URL": f"http://127.0.0.1:{settings.metrics_port}",
        "INDEX_URL": f"http://127.0.0.1:{settings.index_port}",
        "TEXT_ENDPOINT": ENDPOINT,
        "IMAGE_ENDPOINT": ENDPOINT,
        "MULTIMODAL_ENDPOINT": ENDPOINT,
        "DATA_DIR": folder / "gateway",
        "AUTOSCALED": "workers",
        "COALESCE_MIN_IN_FLIGHT": 1000,
        "LABEL_CACHE_SIZE": 1,
    }
    return {f"CLIPSERVE_GATEWAY_{name}": str(value) for name, value in told.items()}


def _wait(parts: Stack, gateway: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        parts.check()
        with contextlib.suppress(httpx.HTTPError):
            if httpx.post(f"{gateway}/v1/embeddings", json={"input": "first"}, timeout=5).status_code == 200:
                return
        if time.monotonic() > deadline:
            raise StackStartError("\n".join(f"{part.name}:\n{part.tail()}" for part in parts.parts))
        time.sleep(0.2)
