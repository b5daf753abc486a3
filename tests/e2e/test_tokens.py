"""A stack whose TorchServe asks for tokens: who has none gets nothing, and what is ours goes on when they change."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.stack.live_stack import LiveStack, live_stack
from tests.e2e.conftest import Answer, send
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]
TEXT = {"input": ["a red circle"]}
LESS = ("--no-demo", "--no-captions")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory.mktemp("tokens"), "--token-authorization", "--system-metrics", *LESS) as stack:
        stack.wait_ready()
        yield stack


def tokens(stack: LiveStack) -> dict[str, str]:
    path = stack.data_dir / "run" / "key_file.json"
    assert path.stat().st_mode & 0o077 == 0
    return {api: f"Bearer {told['key']}" for api, told in json.loads(path.read_text()).items()}


def management(stack: LiveStack, path: str, **headers: str) -> Answer:
    return send("GET", f"http://127.0.0.1:{stack.ports['management_port']}{path}", **headers)


def embed(stack: LiveStack, text: str) -> int:
    return send("POST", f"{stack.gateway}/v1/embeddings", {"input": text}).status


def test_without_a_token_torchserve_answers_nothing(own: LiveStack) -> None:
    url, given = f"{own.inference}/predictions/clip_text", tokens(own)
    assert send("POST", url, TEXT).status == 400
    assert send("POST", url, TEXT, Authorization=given["management"]).status == 400
    assert send("POST", url, TEXT, Authorization=given["inference"]).status == 200
    assert management(own, "/models").status == 400
    assert management(own, "/models", Authorization=given["inference"]).status == 400
    assert management(own, "/models", Authorization=given["management"]).status == 200
    assert management(own, "/readyz").status == 200


def test_grpc_asks_for_it_too(own: LiveStack) -> None:
    import grpc

    ping: Any
    with grpc.insecure_channel(f"127.0.0.1:{own.ports['grpc_inference_port']}") as channel:
        ping = channel.unary_unary("/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping")
        with pytest.raises(grpc.RpcError, match="Token Authorization failed"):
            ping(b"", timeout=20)
        assert b"Healthy" in ping(b"", timeout=20, metadata=[("authorization", tokens(own)["inference"])])


def test_the_stack_goes_on_with_new_tokens(own: LiveStack) -> None:
    before = tokens(own)
    assert embed(own, "before") == 200
    assert management(own, "/token?type=inference", Authorization=before["management"]).status == 400
    for api in ("inference", "management"):
        assert management(own, f"/token?type={api}", Authorization=before["API"]).status == 200
    after = tokens(own)
    assert after["inference"] != before["inference"]
    assert send("POST", f"{own.inference}/predictions/clip_text", TEXT, Authorization=before["inference"]).status == 400
    assert [embed(own, f"after {place}") for place in range(5)] == [200] * 5
    assert send("GET", f"{own.gateway}/readyz").status == 200


def test_commands_find_them_in_the_data_folder(own: LiveStack) -> None:
    ports = own.ports
    urls = ["--management-url", f"http://127.0.0.1:{ports['management_port']}", "--inference-url", own.inference]
    command = [str(Path(sys.executable).parent / "clipserve"), "model", "list", "--data-dir", str(own.data_dir), *urls]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr + said.stdout
    assert "ready" in said.stdout


def test_no_log_holds_a_token(own: LiveStack) -> None:
    logs = "".join(path.read_text(errors="replace") for path in own.log_dir.iterdir() if path.is_file())
    assert not [api for api, token in tokens(own).items() if token.removeprefix("Bearer ") in logs]


def test_the_machine_is_told_where_that_is_asked_for(own: LiveStack) -> None:
    """By TorchServe's own collector, which runs once a minute and at the start."""

    def told() -> str:
        return send("GET", f"http://127.0.0.1:{own.ports['metrics_port']}/metrics").raw.decode()

    assert until(lambda: "MemoryUsed{" in told(), seconds=90.0)
    assert {"CPUUtilization", "MemoryAvailable", "DiskUtilization"} <= set(
        re.findall(r"^(\w+)\{", told(), re.MULTILINE)
    )
