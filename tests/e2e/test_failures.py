"""Parts that die, hang or cannot start: the message names them, the rest goes on or stops cleanly."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.live_stack import PORTS, LiveStack, free_ports, live_stack
from tests.e2e.conftest import send
from tests.processes import still_running
from tests.waiting import until

pytestmark = pytest.mark.e2e
RECOVERY_S = 120.0  # a worker that loads its model on a machine with other work
CLIPSERVE = str(Path(sys.executable).parent / "clipserve")


def embed(stack: LiveStack) -> int:
    return send("POST", f"{stack.gateway}/v1/embeddings", {"input": "a star"}).status


def test_a_worker_killed_in_mid_request_is_a_clean_error_then_recovery(stack: LiveStack) -> None:
    victims = stack.find("model_service_worker")
    assert len(victims) == 3
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(embed, stack) for _ in range(200)]
        time.sleep(0.05)
        for victim in victims:
            victim.kill()
        statuses = {future.result() for future in futures}
    assert statuses <= {200, 424, 429, 503}
    until(lambda: embed(stack) == 200, RECOVERY_S)
    until(lambda: send("GET", f"{stack.gateway}/readyz").status == 200, RECOVERY_S)


def test_the_index_service_hanging_is_named_and_embedding_goes_on(stack: LiveStack) -> None:
    (index,) = stack.find("-m index_service")
    index.send_signal(signal.SIGSTOP)
    try:
        answer = send("POST", f"{stack.gateway}/v1/search", {"collection": "demo", "text": "a star"})
        assert (answer.status, answer.json["error"]["code"]) == (503, "index_unavailable")
        assert embed(stack) == 200
        ready = send("GET", f"{stack.gateway}/readyz")
        assert ready.status == 503
        assert b"index" in ready.raw
    finally:
        index.send_signal(signal.SIGCONT)
    search = {"collection": "demo", "text": "a star"}
    until(lambda: send("POST", f"{stack.gateway}/v1/search", search).status == 200, RECOVERY_S)


@pytest.mark.parametrize(
    ("fragment", "name"),
    [("-m index_service", "index service"), ("ModelServer", "TorchServe"), ("-m gateway", "gateway")],
)
def test_when_a_part_dies_up_says_which_and_stops_the_rest(tmp_path: Path, fragment: str, name: str) -> None:
    with live_stack(tmp_path, "--no-demo") as stack:
        stack.wait_ready()
        family = stack.children()
        (victim,) = stack.find(fragment)
        victim.kill()
        assert stack.process.wait(timeout=30) == 1
    assert f"{name} stopped with status -9" in stack.text()
    assert str(stack.log_dir) in stack.text()
    assert still_running(family) == []


def test_interrupt_stops_everything(tmp_path: Path) -> None:
    with live_stack(tmp_path, "--no-demo") as stack:
        stack.wait_ready()
        family = stack.children()
        assert len(family) >= 6
        assert stack.stop(signal.SIGINT) < 20
    assert stack.process.returncode == 0
    assert still_running(family) == []


def up(*options: str, **ports: int) -> subprocess.CompletedProcess[str]:
    """`clipserve up` on free ports but for those given, to its end."""
    chosen = dict(zip(PORTS, free_ports(len(PORTS)), strict=True)) | ports
    arguments = [text for name, port in chosen.items() for text in (f"--{name.replace('_', '-')}", str(port))]
    return subprocess.run(
        [CLIPSERVE, "up", *arguments, *options],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = up("--data-dir", str(tmp_path), index_port=port)
    assert done.returncode == 1
    assert f"port {port} (index_port) is taken" in done.stdout
    assert "--index-port" in done.stdout


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = up("--data-dir", str(blocked / "data"))
    assert done.returncode == 1
    assert "--data-dir" in done.stdout


def test_an_open_address_needs_keys(tmp_path: Path) -> None:
    done = up("--host", "0.0.0.0", "--data-dir", str(tmp_path), "--no-demo")
    assert done.returncode == 1
    assert "CLIPSERVE_GATEWAY_API_KEYS" in done.stdout


def test_a_wrong_setting_names_it() -> None:
    done = up("--gateway-port", "many")
    assert done.returncode == 2
    assert "gateway-port" in done.stderr + done.stdout
