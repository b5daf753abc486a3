"""`clipserve up --observe`: Prometheus and Alertmanager beside a stack. Whatever becomes of them, the stack serves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from scripts.monitoring.local_configuration import (
    GATEWAY,
    INDEX,
    SCALER,
    TORCHSERVE,
    alertmanager_command,
    prometheus_command,
    prometheus_config,
)
from scripts.monitoring.write import FOLDER
from scripts.processes import launching
from scripts.processes.preflight import StackStartError
from scripts.processes.restarts import RestartPolicy
from scripts.processes.stack import Stack
from scripts.processes.stack_process import Program
from scripts.stack.parts import part_log
from scripts.stack.up_settings import UpSettings

_PROGRAMS = {"Prometheus": ("prometheus",), "Alertmanager": ("prometheus-alertmanager", "alertmanager")}
_INSTALL = "`apt install prometheus prometheus-alertmanager` (Debian, Ubuntu), and start again"
_STOP_S = 2.0  # each


@dataclass
class Observers:
    """`folder`: for their data. `notice` is told what the operator should know."""

    settings: UpSettings
    folder: Path
    notice: Callable[[str], None]
    urls: dict[str, str] = field(default_factory=dict)  # of those that were started, by name

    def __post_init__(self) -> None:
        self._stacks: dict[str, Stack] = {}  # each of one part: none takes the other with it

    def start(self, gateway: str, key: str | None) -> None:
        """`gateway`: its address as HOST:PORT; `key`: what it is to be asked with. From the main thread."""
        found = {name: next(filter(None, map(shutil.which, names)), None) for name, names in _PROGRAMS.items()}
        missing = [name for name, program in found.items() if program is None]
        if missing:
            self.notice(f"--observe starts no {' and no '.join(missing)}, since there is none here: {_INSTALL}")
        self.folder.mkdir(exist_ok=True, mode=0o700)
        if alertmanager := found["Alertmanager"]:
            self._start_alertmanager(alertmanager)
        if prometheus := found["Prometheus"]:
            self._start_prometheus(prometheus, gateway, key)

    def look(self) -> None:
        """Start again what has ended, or give it up. From the main thread, again and again."""
        for name in list(self._stacks):
            self._look_at(name)

    def _look_at(self, name: str) -> None:
        try:
            self._stacks[name].supervise()
        except StackStartError as error:
            self.notice(f"{name} is given up; the rest goes on: {error}")
            self._stacks.pop(name).stop(_STOP_S)

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        while self._stacks:
            self._stacks.popitem()[1].stop(_STOP_S, hurry)

    def _start_alertmanager(self, program: str) -> None:
        config = self.settings.alertmanager_config or FOLDER / "alertmanager.yml"
        port = self.settings.alertmanager_port
        self._start("Alertmanager", alertmanager_command(program, config.resolve(), self.folder / "alerts", port), port)

    def _start_prometheus(self, program: str, gateway: str, key: str | None) -> None:
        settings, local = self.settings, "127.0.0.1:"
        targets = {
            GATEWAY: gateway,
            TORCHSERVE: f"{local}{settings.metrics_port}",
            INDEX: f"{local}{settings.index_port}",
        }
        if settings.autoscale:
            targets[SCALER] = f"{local}{settings.scaler_port}"
        alertmanager = f"{local}{settings.alertmanager_port}" if "Alertmanager" in self.urls else None
        config = prometheus_config(targets, alertmanager, self._written("key", key) if key else None)
        path = self._written("prometheus.yml", yaml.safe_dump(config, sort_keys=False))
        port = settings.prometheus_port
        self._start("Prometheus", prometheus_command(program, path, self.folder / "series", port), port)

    def _written(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path

    def _start(self, name: str, command: list[str], port: int) -> None:
        program = Program(launching.program(command), {}, cwd=self.folder)
        stack = Stack(RestartPolicy(self.settings.restart_limit, self.settings.restart_window), self.notice)
        self._stacks[name] = stack
        stack.add(name, program, part_log(self.settings, name.lower()))
        self.urls[name] = f"http://127.0.0.1:{port}"
