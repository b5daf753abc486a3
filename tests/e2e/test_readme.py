"""Every example in the README runs as printed, against the running stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.stack.live_stack import LiveStack, default_ports

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parent.parent.parent
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example(stack: LiveStack, tmp_path: Path, number: int) -> None:
    """The ports are the printed ones where they were free; otherwise the stack's own take their place."""
    language, text = BLOCKS[number]
    for name, port in default_ports().items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{stack.ports[name]}")
    (tmp_path / "data").symlink_to(stack.data_dir)
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "CLIPSERVE_URL": stack.gateway, "CLIPSERVE_INDEX_URL": stack.index},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"error":{' not in done.stdout.replace('"status":400,"error":{', ""), done.stdout
    assert done.stdout.strip() or language == "python"
