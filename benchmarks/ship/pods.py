"""The parts of a stack as pods: a process each, started and stopped one by one as a rollout does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks.lib.waiting import answers, until
from scripts.stack.live_stack import free_ports

KEY = "rollout"
_READY_S = 180.0
_INDEX_WAIT_S = 60  # the chart's is 10; a busy machine may take longer for a start
_ENCODER_PORTS = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")


@dataclass
class Pod:
    """One process; `port` is where it serves. `management_port`: an encoder's, which says whether it is ready."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    management_port: int = 0

    def wait_ready(self) -> float:
        """The seconds that it took. Raises RuntimeError with the end of its log."""

        def fault() -> str:
            return f"{self.log.name} is not ready:\n{self.log.read_text(errors='replace')[-2000:]}"

        url = f"http://127.0.0.1:{self.management_port or self.port}/readyz"
        return until(lambda: answers(url), _READY_S, fault, self.process)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@dataclass
class Pods:
    """Starts pods. `services`: name → the port of its Service."""

    folder: Path
    model_store: Path
    services: Mapping[str, int]
    started: list[Pod] = field(default_factory=list)

    def index(self) -> Pod:
        """Always at its Service's own port: there is one."""
        port = self.services["index"]
        return self._start("index_service", port, INDEX_PORT=port, INDEX_DATA_DIR=self.folder / "index")

    def encoder(self) -> Pod:
        ports = dict(zip(_ENCODER_PORTS, free_ports(len(_ENCODER_PORTS)), strict=True))
        given = {name.upper(): port for name, port in ports.items()}
        pod = self._start(
            "scripts.encoder",
            ports["inference_port"],
            **given,
            MODEL_STORE=self.model_store,
            MANAGEMENT="read-only",
            HANDLER_INDEX_URL=self._url("index"),
        )
        pod.management_port = ports["management_port"]
        return pod

    def gateway(self) -> Pod:
        (port,) = free_ports(1)
        return self._start(
            "gateway",
            port,
            GATEWAY_PORT=port,
            GATEWAY_API_KEYS=KEY,
            GATEWAY_DATA_DIR=self.folder / f"gateway-{port}",
            GATEWAY_PICTURES="in_place",
            GATEWAY_MODELS_FILE=self._models(),
            GATEWAY_INDEX_URL=self._url("index"),
            GATEWAY_INDEX_WAIT_S=_INDEX_WAIT_S,
        )

    def end(self) -> None:
        for pod in self.started:
            pod.kill()

    def _url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.services[service]}"

    def _models(self) -> Path:
        path = self.folder / "models.json"
        names = {kind: f"clip_{kind}" for kind in ("text", "image", "multimodal")}
        urls = {"torchserve_url": self._url("encoder"), "management_url": self._url("management")}
        path.write_bytes(orjson.dumps({"models": [{"name": "demo", **names, **urls}]}))
        return path

    def _start(self, module: str, port: int, **settings: object) -> Pod:
        environment = {**os.environ, **{f"CLIPSERVE_{name}": str(value) for name, value in settings.items()}}
        log = self.folder / f"{module}-{port}.log"
        command = [sys.executable, "-P", "-m", module]
        with log.open("ab") as file:
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
        pod = Pod(process, port, log)
        self.started.append(pod)
        return pod
