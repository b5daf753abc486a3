"""One real stack for all end-to-end tests: index service, TorchServe and gateway, started as a user starts them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.live_stack import LiveStack, default_ports, live_stack
from scripts.preflight import StartError, check_ports
from tests.processes import still_running


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


Send = Callable[..., Answer]


def send(method: str, url: str, body: Any = None, **headers: str) -> Answer:
    """`body`: bytes as they are, anything else as JSON. Header names are written with underscores."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data=data, headers=sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def _ports() -> dict[str, int] | None:
    """The default ports, as the README prints them, when they are free."""
    try:
        check_ports(default_ports())
    except StartError:
        return None
    return default_ports()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory.mktemp("stack"), "--log-json", ports=_ports()) as stack:
        stack.wait_ready()
        yield stack
        seconds = stack.stop()
    assert stack.process.returncode == 0, stack.text()
    assert seconds < 10
    assert still_running(stack.family) == []
