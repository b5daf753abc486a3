"""TLS in the gateway itself. The certificate of 127.0.0.1 in tls/ is self-signed and good for nothing else:

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj "/CN=clipserve test" \\
  -addext "subjectAltName=IP:127.0.0.1,DNS:localhost" -keyout key.pem -out certificate.pem
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings
from tests.waiting import until

TLS = Path(__file__).parent / "tls"
CERTIFICATE, KEY = TLS / "certificate.pem", TLS / "key.pem"


def answers(url: str, verify: ssl.SSLContext) -> httpx.Response | None:
    try:
        return httpx.get(url, verify=verify)
    except httpx.ConnectError:
        return None


def test_the_gateway_speaks_tls_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    named = {"PORT": str(port), "TLS_CERTIFICATE": str(CERTIFICATE), "TLS_KEY": str(KEY)}
    env = {**os.environ, **{f"CLIPSERVE_GATEWAY_{name}": value for name, value in named.items()}}
    process = subprocess.Popen([sys.executable, "-m", "gateway"], env=env, stderr=subprocess.PIPE, text=True)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    try:
        answer = until(lambda: answers(f"https://127.0.0.1:{port}/healthz", trusting))
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"https://127.0.0.1:{port}/healthz")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tls_certificate": CERTIFICATE}, "go together"),
        ({"tls_key": KEY}, "go together"),
        ({"tls_certificate": CERTIFICATE, "tls_key": TLS / "none.pem"}, "there is no file"),
    ],
)
def test_half_a_pair_is_refused(given: dict[str, Path], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GatewaySettings(**given)
