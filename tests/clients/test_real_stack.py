"""Every block of docs/clients.md runs as printed against a whole stack with keys, as `clipserve up` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from scripts.stack.live_stack import LiveStack, live_stack
from tests.gateway.test_clients import BLOCKS, recipe

pytestmark = [pytest.mark.e2e, pytest.mark.clients]
KEY = "secret"
DOCUMENTED = [name for name, blocks in BLOCKS.items() if blocks and blocks[0][0] == "python" and name != "httpx"]


@pytest.fixture(scope="module")
def keyed_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory.mktemp("stack"), env={"CLIPSERVE_GATEWAY_API_KEYS": KEY}) as stack:
        stack.wait_ready()
        yield stack


def environment(stack: LiveStack) -> dict[str, str]:
    local = {name: f"127.0.0.1:{port}" for name, port in stack.ports.items()}
    return {
        "CLIPSERVE_URL": stack.gateway,
        "CLIPSERVE_API_KEY": KEY,
        "GRPC_ADDRESS": local["grpc_port"],
        "TORCHSERVE_GRPC": local["grpc_inference_port"],
    }


def test_there_are_blocks() -> None:
    assert len(DOCUMENTED) >= 9


@pytest.mark.parametrize("name", DOCUMENTED)
def test_python(keyed_stack: LiveStack, run_client, tmp_path: Path, name: str) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    script = tmp_path / "block.py"
    script.write_text(recipe(name), encoding="utf-8")
    run_client(script, **environment(keyed_stack))


def test_curl(keyed_stack: LiveStack, tmp_path: Path) -> None:
    """In their order, with another collection, which one of them names; curl's own file of options has the key."""
    made = httpx.put(f"{keyed_stack.gateway}/v1/collections/mine", json={}, headers={"X-API-Key": KEY})
    assert made.is_success
    (tmp_path / ".curlrc").write_text(f'header = "X-API-Key: {KEY}"\n')
    Image.new("RGB", (32, 32), "red").save(tmp_path / "picture.jpg")
    blocks = [code for found in BLOCKS.values() for language, code in found if language == "bash"]
    assert len(blocks) >= 5
    text = "\n".join(blocks).replace("127.0.0.1:8000", keyed_stack.gateway.removeprefix("http://"))
    command = ["bash", "-euo", "pipefail", "-c", text]
    env = {**os.environ, "CURL_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert '"error"' not in done.stdout
    assert done.stdout.count("{") > 20
