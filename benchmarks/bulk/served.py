"""JPEGs through TorchServe alone: a worker decodes and encodes what 32 clients send, 16 pictures a request."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lib.waiting import answers, until
from scripts.stack.live_stack import free_ports
from scripts.tune.load import together

_PORTS = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")
_CLIENTS, _LIST, _START_S = 32, 16, 400.0


def served_rate(archive: Path, work: Path, pictures: Sequence[bytes], seconds: float) -> float:
    """Pictures a second, after half of `seconds` that warm up. Raises RuntimeError."""
    store = work / "served"
    store.mkdir()
    os.link(archive, store / archive.name)
    urls = [{"image": f"data:image/jpeg;base64,{base64.b64encode(each).decode()}"} for each in pictures]
    bodies = [{"input": urls[at : at + _LIST]} for at in range(0, len(urls), _LIST)]
    with _torchserve(store) as inference:
        url = f"{inference}/predictions/{archive.stem}"
        together(url, bodies, _CLIENTS, seconds / 2)
        load = together(url, bodies, _CLIENTS, seconds)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {load.errors + len(load.latencies)} requests failed")
    return load.rate * len(urls) / len(bodies)


@contextmanager
def _torchserve(store: Path) -> Iterator[str]:
    """Its address. Raises RuntimeError."""
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    own = {f"CLIPSERVE_{name.upper()}": str(port) for name, port in ports.items()}
    given = {**os.environ, "CLIPSERVE_MODEL_STORE": str(store), "CLIPSERVE_HANDLER_CACHE": "false", **own}
    command = [sys.executable, "-P", "-m", "scripts.encoder"]
    with subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{ports['management_port']}/readyz"
            until(lambda: answers(url), _START_S, lambda: "TorchServe did not start", process)
            yield f"http://127.0.0.1:{ports['inference_port']}"
        finally:
            process.terminate()
