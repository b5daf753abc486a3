"""Settings, and `python -m gateway` as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from pydantic import ValidationError

from gateway.__main__ import main
from gateway.settings import GatewaySettings, is_loopback
from tests.waiting import until


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_keys(host):
    assert is_loopback(host)
    assert GatewaySettings(host=host).keys == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_other_hosts_need_keys(host):
    with pytest.raises(ValidationError, match="API keys"):
        GatewaySettings(host=host)
    assert GatewaySettings(host=host, api_keys="k").keys == ("k",)


def test_keys_are_not_shown():
    assert "hidden" not in repr(GatewaySettings(api_keys="hidden"))


@pytest.mark.parametrize(
    "bad", [{"torchserve_url": "x"}, {"image_roots": "demo"}, {"fetch_networks": "10.0.0.1/8"}, {"port": 99999}]
)
def test_bad_settings(bad):
    with pytest.raises(ValidationError):
        GatewaySettings(**bad)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "http://:s3cret@localhost:6379",
        "redis://:s3cret@localhost:many/0",
        "redis://:s3cret#x@localhost:6379",
        "redis://localhost:6379?socket_timeout=:s3cret",
        "redis://[::1",
        " ",
    ],
)
def test_a_malformed_redis_url_is_named_without_its_password(url, monkeypatch, capsys):
    monkeypatch.setenv("CLIPSERVE_GATEWAY_REDIS_URL", url)
    with pytest.raises(SystemExit):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert "CLIPSERVE_GATEWAY_REDIS_URL" in line
    assert "s3cret" not in line


@pytest.mark.parametrize("url", ["", "redis://localhost:6379", "rediss://u:p%23@h:1/2?socket_timeout=1"])
def test_good_redis_urls(url):
    assert GatewaySettings(redis_url=url).redis_url.get_secret_value() == url


def test_image_roots():
    roots = GatewaySettings(image_roots="a=x/y, b=z").image_roots
    assert {name: str(path) for name, path in roots.items()} == {"a": "x/y", "b": "z"}


def test_every_setting_is_described():
    assert all(field.description for field in GatewaySettings.model_fields.values())


def start(**env: str) -> subprocess.Popen[str]:
    named = {f"CLIPSERVE_GATEWAY_{name}": value for name, value in env.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "gateway"],
        env={**os.environ, **named},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"HOST": "0.0.0.0"}, "CLIPSERVE_GATEWAY_API_KEYS"),
        ({"PORT": "many"}, "CLIPSERVE_GATEWAY_PORT"),
        ({"PORT": "0", "MODELS_FILE": "/nowhere/models.json"}, "CLIPSERVE_GATEWAY_MODELS_FILE"),
        ({"LLM_URL": "http://127.0.0.1:9/v1"}, "go together"),
        ({"LLM_API_KEY": "sk-ключ"}, "CLIPSERVE_GATEWAY_LLM_API_KEY: must be of printable ASCII"),
        (
            {
                "PORT": "0",
                "LLM_URL": "http://127.0.0.1:9/v1",
                "LLM_MODEL": "m",
                "LLM_PRICES_FILE": "/nowhere",
            },
            "CLIPSERVE_GATEWAY_LLM_PRICES_FILE",
        ),
    ],
)
def test_failed_start_is_one_clear_line(env, words):
    _, stderr = start(**env).communicate(timeout=60)
    assert words in stderr
    assert len(stderr.strip().splitlines()) == 1


def test_port_taken_then_clean_stop():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start(PORT=port)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1
        assert port in stderr
        assert len(stderr.strip().splitlines()) == 1
    process = start(PORT=port, LOG_JSON="true")
    wait_for(f"http://127.0.0.1:{port}/healthz")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr


def wait_for(url: str) -> None:
    """Until something answers there."""
    until(lambda: answers(url))


def answers(url: str) -> bool:
    try:
        httpx.get(url)
    except httpx.TransportError:
        return False
    return True
