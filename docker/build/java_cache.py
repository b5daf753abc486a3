"""`python java_cache.py FILE`, by the image's own Python: what TorchServe's JVM has loaded once it serves.

The JVM writes FILE as it stops and starts sooner with `-XX:AOTCache=FILE` (JEP 483 and 514). Where Java or TorchServe
is another one, it starts without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from scripts.processes.preflight import find_java
from scripts.stack.live_stack import free_ports
from scripts.stack.torchserve import command, environment, properties
from scripts.stack.up_settings import UpSettings

_PORTS = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")
_PATIENCE_S = 300.0


def main(path: str) -> None:
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))  # a build may share the machine's network
    settings = UpSettings(java_options=f"-XX:AOTCacheOutput={path}", **ports)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        (run / "store").mkdir()
        config = properties(settings, run / "store", run, {})
        given = {**os.environ, **environment(settings, run, run)}
        process = subprocess.Popen(command(find_java(), config, settings, run), env=given, cwd=run)
        try:
            _ask(f"http://127.0.0.1:{settings.inference_port}/ping", process)
            _ask(f"http://127.0.0.1:{settings.management_port}/models", process)
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)
    print(f"{path}: {os.path.getsize(path) / 1e6:.0f} MB")


def _ask(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < ends:
        try:
            urllib.request.urlopen(url, timeout=10).read()
            return
        except OSError:  # noqa: PERF203
            time.sleep(0.1)
    raise SystemExit(f"TorchServe does not answer at {url}")


if __name__ == "__main__":
    main(*sys.argv[1:])
