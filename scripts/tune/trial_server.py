"""TorchServe alone, with the settings of one trial."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.processes.preflight import StackStartError, find_java
from scripts.processes.stack import Stack
from scripts.stack import torchserve
from scripts.stack.live_stack import PORTS, free_ports
from scripts.stack.up_settings import UpSettings

START_S = 300.0


@contextlib.contextmanager
def serving(
    directory: Path, kind: str, config: dict[str, Any], *, cache: bool = False, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """As `torchserve_alone`; gives the address to send requests to."""
    with torchserve_alone(directory, kind, config, cache=cache, env=env) as settings:
        yield f"http://127.0.0.1:{settings.inference_port}/predictions/clip_{kind}"


@contextlib.contextmanager
def torchserve_alone(
    directory: Path, kind: str, config: dict[str, Any], *, cache: bool = False, env: Mapping[str, str] | None = None
) -> Iterator[UpSettings]:
    """TorchServe with the unpacked archive in `directory` under `config`, ready; gives its ports.

    `cache` leaves the embedding cache on; `env` goes over the workers' environment.
    Raises StackStartError when TorchServe stops, or no worker is ready in five minutes.
    """
    (directory / "model-config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    settings = UpSettings.model_validate({**ports, "token_authorization": False})
    stack, name = Stack(), f"clip_{kind}"
    with tempfile.TemporaryDirectory(prefix="clipserve-tune-") as temporary:
        run_dir, store = Path(temporary), Path(temporary) / "store"
        store.mkdir()
        (store / name).symlink_to(directory)
        properties = torchserve.properties(settings, store, run_dir, endpoints={name: name})
        command = torchserve.command(find_java(), properties, settings, run_dir)
        environment = {
            **torchserve.environment(settings, run_dir, run_dir),
            "CLIPSERVE_HANDLER_CACHE": str(cache).lower(),
            **(env or {}),
        }
        try:
            stack.start("TorchServe", command, run_dir / "torchserve.log", environment)
            _wait(stack, settings, name)
            yield settings
        finally:
            stack.stop()


def _wait(stack: Stack, settings: UpSettings, name: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        stack.check()
        seen = torchserve.workers(f"http://127.0.0.1:{settings.management_port}", (name,))
        if seen and seen[0].ready >= seen[0].wanted:
            return
        if time.monotonic() > deadline:
            raise StackStartError(f"no worker of {name} was ready in {START_S:.0f} s:\n{stack.parts[0].tail()}")
        time.sleep(0.1)
