"""Gateways as processes of their own, before the fakes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import httpx

from tests.gateway.test_start import wait_for


class Gateway:
    """`python -m gateway` with its own port, over the record in `data_dir`."""

    def __init__(self, secret: str, **settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        named = {f"CLIPSERVE_GATEWAY_{name.upper()}": value for name, value in settings.items()}
        env = {**os.environ, **named, "CLIPSERVE_GATEWAY_PORT": str(port)}
        self.process = subprocess.Popen([sys.executable, "-m", "gateway"], env=env, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/healthz")
        self.client = httpx.Client(base_url=url, timeout=30, headers={"X-API-Key": secret})

    def stop(self) -> None:
        """As a rollout does it."""
        self.client.close()
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()

    def job(self, job_id: str) -> dict:
        return self.client.get(f"/v1/jobs/{job_id}").json()
