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

from scripts.stack.live_stack import PORTS, LiveStack, free_ports, live_stack
from tests.e2e.conftest import Answer, send
from tests.processes import still_running
from tests.waiting import until

pytestmark = pytest.mark.e2e
RECOVERY_S = 120.0  # a worker that loads its model on a machine with other work
CLIPSERVE = str(Path(sys.executable).parent / "clipserve")


def embed(stack: LiveStack) -> int:
    return send("POST", f"{stack.gateway}/v1/embeddings", {"input": "a star"}).status


def caption(stack: LiveStack) -> int:
    return send("POST", f"{stack.gateway}/v1/captions", {"image": {"collection": "demo", "id": "scene-0384"}}).status


def test_a_worker_killed_in_mid_request_is_a_clean_error_then_recovery(stack: LiveStack) -> None:
    victims = stack.find("model_service_worker")
    assert len(victims) == 4
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(embed, stack) for _ in range(200)]
        time.sleep(0.05)
        for victim in victims:
            victim.kill()
        statuses = {future.result() for future in futures}
    assert statuses <= {200, 429, 503}
    until(lambda: embed(stack) == 200, RECOVERY_S)
    until(lambda: send("GET", f"{stack.gateway}/readyz").status == 200, RECOVERY_S)
    until(lambda: caption(stack) == 200, RECOVERY_S)  # which a gateway is ready without


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


PARTS = {"-m index_service": "index service", "-m gateway": "gateway", "ModelServer": "TorchServe"}


def test_killed_parts_start_again_and_none_outlives_up(tmp_path: Path) -> None:
    with live_stack(tmp_path, "--no-demo") as stack:
        stack.wait_ready()
        collection = f"{stack.gateway}/v1/collections/kept"
        assert send("PUT", collection, {}).status == 201
        for number, (fragment, name) in enumerate(PARTS.items()):
            added = send("POST", f"{collection}/items", {"items": [{"id": str(number), "text": name}]})
            assert added.json["results"][0]["status"] < 300
            (victim,) = stack.find(fragment)
            victim.kill()
            if fragment != "-m gateway":
                assert until(lambda: not_ready(stack)).json["error"]["message"]
            until(lambda name=name: f"{name} stopped with status -9; it starts again" in stack.text())
            until(lambda: ready(stack) and embed(stack) == 200, RECOVERY_S)
            assert send("GET", collection).json["count"] == number + 1
        assert stack.process.poll() is None
        assert "gateway stopped" in (stack.log_dir / "up.log").read_text()
        family = stack.children()
        stack.process.kill()
        until(lambda: not still_running(family))


def ready(stack: LiveStack) -> bool:
    try:
        return send("GET", f"{stack.gateway}/readyz").status == 200
    except OSError:
        return False


def not_ready(stack: LiveStack) -> Answer | None:
    answer = send("GET", f"{stack.gateway}/readyz")
    return answer if answer.status == 503 else None


def test_a_second_up_leaves_the_first_ones_folder_alone(stack: LiveStack) -> None:
    config = stack.data_dir / "run" / "config.properties"
    before = config.read_bytes()
    done = up("--data-dir", str(stack.data_dir))
    assert done.returncode == 1
    assert f"pid {stack.process.pid}" in done.stdout
    assert "--data-dir" in done.stdout
    assert config.read_bytes() == before


def test_data_and_logs_are_closed_to_other_users(stack: LiveStack) -> None:
    folders = (stack.data_dir, stack.log_dir)
    modes = {path: path.lstat().st_mode for folder in folders for path in (folder, *folder.rglob("*"))}
    assert [path for path, mode in modes.items() if mode & 0o077] == []


def test_the_management_api_is_closed_to_pages(stack: LiveStack) -> None:
    management = f"http://127.0.0.1:{stack.ports['management_port']}"
    register = f"{management}/models?url=clip_text.mar&model_name=intruder"
    assert send("POST", register, b"", Origin="https://evil.example", Content_Type="text/plain").status == 403
    assert send("GET", f"{management}/models", Host="evil.example:8081").status == 403
    assert send("POST", f"{management}/workflows?url=http://127.0.0.1:1/x.war", b"").status == 403
    names = [each["modelName"] for each in send("GET", f"{management}/models").json["models"]]
    assert sorted(names) == ["clip_caption", "clip_image", "clip_multimodal", "clip_text"]
    assert send("PUT", f"{management}/models/clip_text?min_worker=1", b"").status == 202


def test_interrupt_stops_everything(tmp_path: Path) -> None:
    with live_stack(tmp_path, "--no-demo") as stack:
        stack.wait_ready()
        family = stack.children()
        assert len(family) >= 6
        stack.stop(signal.SIGINT)
    assert stack.process.returncode == 0
    until(lambda: not still_running(family))


def up(*options: str) -> subprocess.CompletedProcess[str]:
    """`clipserve up` on free ports but for those given, to its end."""
    chosen = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    arguments = [text for name, port in chosen.items() for text in (f"--{name.replace('_', '-')}", str(port))]
    return subprocess.run(
        [CLIPSERVE, "up", *arguments, *options],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )


@pytest.mark.parametrize(
    ("options", "status", "named"),
    [
        (("--index-port", "{taken}"), 1, "port {taken} (index_port) is taken"),
        (("--data-dir", "{tmp}/file/data"), 1, "--data-dir"),
        (("--host", "0.0.0.0"), 1, "CLIPSERVE_GATEWAY_API_KEYS"),
        (("--gateway-port", "many"), 2, "gateway-port"),
    ],
)
def test_what_can_not_start_is_named(tmp_path: Path, options: tuple[str, str], status: int, named: str) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        known = {"taken": listener.getsockname()[1], "tmp": tmp_path}
        done = up("--data-dir", str(tmp_path), "--no-demo", *(each.format(**known) for each in options))
    assert done.returncode == status
    assert named.format(**known) in done.stdout + done.stderr
