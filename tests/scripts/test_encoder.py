"""TorchServe alone, as the encoder's container runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from scripts.encoder import EncoderSettings, endpoints, environment
from scripts.processes.preflight import StackStartError
from scripts.processes.process_tree import family
from scripts.stack.live_stack import free_ports
from tests.processes import still_running
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def encoder(store: Path, output: int = subprocess.PIPE, **settings: str) -> Iterator[subprocess.Popen[str]]:
    own = {f"CLIPSERVE_{name.upper()}": value for name, value in settings.items()}
    given = {**os.environ, "CLIPSERVE_MODEL_STORE": str(store), "CLIPSERVE_STOP_TIMEOUT": "60", **own}
    command = [sys.executable, "-P", "-m", "scripts.encoder"]
    one = subprocess.STDOUT
    with subprocess.Popen(command, cwd=ROOT, env=given, stdout=output, stderr=one, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_endpoints_are_the_archives_of_the_store(tmp_path: Path) -> None:
    for name in ("clip_text.mar", "large_text.mar", "README.md", "clip_text-2.0.mar", "large-2.0.mar"):
        (tmp_path / name).touch()  # one of them is a copy that a killed swap has left
    found = {"clip_text": "clip_text.mar", "large-2.0": "large-2.0.mar", "large_text": "large_text.mar"}
    assert endpoints(tmp_path) == found


def test_a_store_without_archives(tmp_path: Path) -> None:
    with pytest.raises(StackStartError, match="there is no archive"):
        endpoints(tmp_path)
    with encoder(tmp_path) as process:
        said, _ = process.communicate()
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith(f"encoder: there is no archive (.mar) in {tmp_path}")


def test_a_setting_that_makes_no_sense(tmp_path: Path) -> None:
    with encoder(tmp_path, management="closed") as process:
        said, _ = process.communicate()
        assert process.returncode == 1
        assert "CLIPSERVE_MANAGEMENT" in said
        assert len(said.splitlines()) == 1


def test_what_the_process_was_given_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPSERVE_HANDLER_INDEX_URL", "http://index:8090")
    given = environment(EncoderSettings(), tmp_path)
    assert given["CLIPSERVE_HANDLER_INDEX_URL"] == "http://index:8090"
    assert given["TEMP"] == str(tmp_path)


def answers(url: str) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    return asked


@pytest.mark.e2e
def test_it_serves_and_stops(archives: list[Path]) -> None:
    names = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")
    ports = {name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    inference, management = (f"http://127.0.0.1:{ports[name]}" for name in names[:2])
    with encoder(archives[0].parent, subprocess.DEVNULL, management="read-only", **ports) as process:
        until(answers(f"{management}/readyz"), 120)
        body = {"input": [{"text": "a red circle"}]}
        assert len(httpx.post(f"{inference}/predictions/clip_text", json=body, timeout=60).json()["data"]) == 1
        assert httpx.get(f"{management}/models").status_code == 200
        assert httpx.delete(f"{management}/models/clip_text").status_code == 403
        children = family(process.pid)
        assert len(children) > 3
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert still_running(children) == []
