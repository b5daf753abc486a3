"""Other vendors' clients run in an environment of their own (`make setup-clients`), each script in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.stack.live_stack import free_ports
from tests.gateway.conftest import stack_of, upstreams  # noqa: F401

PYTHON = Path(sys.prefix) / "clients" / "bin" / "python"
Run = Callable[..., str]


@pytest.fixture(scope="session")
def clients_python() -> Path:
    if not PYTHON.exists():
        pytest.skip("the clients are not installed: make setup-clients")
    return PYTHON


@pytest.fixture
def run_client(clients_python: Path, tmp_path: Path) -> Run:
    """`run_client(script, URL="…")` runs a file in the clients' environment; what it prints."""

    def run(script: Path, **environment: str) -> str:
        done = subprocess.run(
            [clients_python, script],
            env={**os.environ, **environment, "PYTHONPATH": str(script.parent), "PYTHONWARNINGS": "ignore"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run


@pytest.fixture
def environment(stack_of: Callable[..., object]) -> dict[str, str]:  # noqa: F811
    """Of a gateway with keys and a gRPC port, in front of the fakes."""
    (port,) = free_ports(1)
    gateway = stack_of(api_keys="secret", grpc_port=port)
    return {
        "CLIPSERVE_URL": gateway.url,  # type: ignore[attr-defined]
        "CLIPSERVE_API_KEY": "secret",
        "GRPC_ADDRESS": f"127.0.0.1:{port}",
    }
