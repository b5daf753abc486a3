"""Every block of docs/clients.md runs as printed against a whole stack, as `clipserve up` starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from scripts.stack.live_stack import LiveStack
from tests.clients.test_official_clients import DOCUMENTED, written
from tests.gateway.test_clients import BLOCKS

pytestmark = [pytest.mark.e2e, pytest.mark.clients]


def environment(stack: LiveStack) -> dict[str, str]:
    local = {name: f"127.0.0.1:{port}" for name, port in stack.ports.items()}
    return {
        "CLIPSERVE_URL": stack.gateway,
        "GRPC_ADDRESS": local["grpc_port"],
        "TORCHSERVE_GRPC": local["grpc_inference_port"],
    }


@pytest.mark.parametrize("name", DOCUMENTED)
def test_python(stack: LiveStack, run_client, tmp_path: Path, name: str) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    run_client(written(name, tmp_path), **environment(stack))


def test_curl(stack: LiveStack, tmp_path: Path) -> None:
    """In their order, with another collection, which one of them names."""
    assert httpx.put(f"{stack.gateway}/v1/collections/mine", json={}).is_success
    Image.new("RGB", (32, 32), "red").save(tmp_path / "picture.jpg")
    blocks = [code for found in BLOCKS.values() for language, code in found if language == "bash"]
    assert len(blocks) >= 5
    text = "\n".join(blocks).replace("127.0.0.1:8000", stack.gateway.removeprefix("http://"))
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"error"' not in done.stdout
    assert done.stdout.count("{") > 20
