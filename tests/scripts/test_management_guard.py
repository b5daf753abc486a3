"""Who gets through to the management API: programs do, web pages never."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import TorchServeUnavailable
from scripts.models.management import Management
from scripts.stack.live_stack import free_ports
from scripts.stack.management_guard import Guard, Policy, guarded
from scripts.stack.torchserve import properties
from scripts.stack.up_settings import UpSettings


class Upstream(ThreadingMixIn, UnixStreamServer):
    """Answers every request with its own request line and body, and remembers the lines."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self.tokens: list[str | None] = []
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.lines.append(f"{self.command} {self.path}")
        self.server.tokens.append(self.headers.get("Authorization"))
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Door:
    def __init__(self, port: int, lines: Sequence[str] = ()) -> None:
        self.port, self.lines = port, lines

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            named = {"Host": f"127.0.0.1:{self.port}"} | {k.replace("_", "-"): v for k, v in headers.items()}
            for name, value in named.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def thread_of(upstream: Upstream) -> Iterator[None]:
    """It answers meanwhile."""
    thread = Thread(target=upstream.serve_forever)
    thread.start()
    try:
        yield
    finally:
        upstream.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    path = tmp_path_factory.mktemp("guard") / "s"
    (port,) = free_ports(1)
    upstream = Upstream(path)
    guard = Guard(port, path, Policy(frozenset({"models.internal"})))
    with upstream, thread_of(upstream), guard:
        yield Door(port, upstream.lines)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models"),
        ("GET", "/models/clip_text/all?customized=true"),
        ("POST", "/models?url=clip_text.mar&initial_workers=1"),
        ("PUT", "/models/clip_text/2.0/set-default"),
        ("DELETE", "/models/clip_text/1.0"),
        ("OPTIONS", "/"),
    ],
)
def test_programs_get_through_unchanged(door: Door, method: str, path: str) -> None:
    assert door.send(method, path, b"a body") == (202, b"a body")
    assert door.lines[-1] == f"{method} {path}"


def test_calls_leave_no_line_in_the_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Probes come every few seconds."""
    with caplog.at_level(logging.INFO, logger="aiohttp.access"):
        for _ in range(3):
            door.send("GET", "/readyz")
    assert [record.name for record in caplog.records if record.name == "aiohttp.access"] == []


@pytest.mark.parametrize("host", ["localhost:1", "LOCALHOST", "[::1]:8081", "127.0.0.1", "models.internal:80"])
def test_names_of_this_machine_are_served(door: Door, host: str) -> None:
    assert door.send("GET", "/models", Host=host)[0] == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Content-Type": "text/plain"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Host": "evil.example:8081"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example#127.0.0.1"},
        {"Host": ""},
    ],
)
def test_pages_are_refused(door: Door, headers: dict[str, str]) -> None:
    before = len(door.lines)
    status, body = door.send("POST", "/models?url=clip_text.mar", b"", **headers)
    assert status in (400, 403)
    assert b"Traceback" not in body
    assert len(door.lines) == before


@pytest.mark.parametrize(
    "path",
    [
        "/workflows?url=http://127.0.0.1/x.war",
        "/%77orkflows?url=x",
        "//workflows",
        "/models/../workflows",
        "/models/%2e%2e/workflows",
        "/models/..%2fworkflows",
        "/Workflows",
        "/models;/../workflows",
        "/metrics",
    ],
)
def test_only_models_are_managed(door: Door, path: str) -> None:
    before = len(door.lines)
    assert door.send("POST", path)[0] == 403
    assert len(door.lines) == before


SENT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@given(SENT, st.sampled_from(["Origin", "Sec_Fetch_Site", "Host"]))
def test_no_made_up_header_opens_the_door(door: Door, value: str, header: str) -> None:
    own = {"127.0.0.1", "localhost", "[::1]", "models.internal"}
    if (header == "Host" and value.lower().rpartition(":")[0] in own | {""}) or value.lower() in {*own, "none"}:
        return
    assert door.send("POST", "/models", **{header: value})[0] in (400, 403)


@given(SENT)
def test_nothing_but_models_is_forwarded(door: Door, path: str) -> None:
    before = len(door.lines)
    door.send("POST", f"/{path}")
    for line in door.lines[before:]:
        first = line.split()[1].partition("?")[0].split("/")[1]
        assert first in ("", "models", "ping", "api-description")
        assert ".." not in line.partition("?")[0].split("/")


def test_read_only_takes_no_changes(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Guard(port, tmp_path / "s", Policy(read_only=True)):
        door = Door(port)
        assert door.send("PUT", "/models/clip_text?min_worker=0")[0] == 403
        with pytest.raises(TorchServeUnavailable, match="read-only"):
            Management(f"http://127.0.0.1:{port}", "http://nowhere").unregister("clip_text", "1.0")
        status, body = door.send("GET", "/models")
    assert status == 503  # nothing listens behind it
    assert b'"torchserve_unavailable"' in body


def test_torchserve_listens_on_a_private_socket_unless_it_is_open(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    for run_dir in (tmp_path, deep):
        with guarded(UpSettings(management_port=port), run_dir) as address:
            path = Path(str(address).removeprefix("unix:"))
            assert len(str(path)) < 108
            assert path.parent.stat().st_mode & 0o077 == 0
            assert (
                f"management_address=unix:{path}\n"
                in properties(UpSettings(), tmp_path, tmp_path, management=address).read_text()
            )
    with guarded(UpSettings(management="open", management_port=port), tmp_path) as address:
        assert address is None


def model(name: str, *states: str) -> list[dict[str, object]]:
    return [{"modelName": name, "minWorkers": 2, "workers": [{"status": state} for state in states]}]


class Models(Handler):
    """Answers what `told` says of the path."""

    told: ClassVar[dict[str, object]] = {}

    def answer(self) -> None:
        body = json.dumps(self.told[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = answer


@pytest.mark.parametrize(
    ("models", "status", "said"),
    [
        ({"a": ("READY", "READY"), "b": ("READY", "READY")}, 200, '"ready"'),
        ({"a": ("READY", "READY"), "b": ("READY", "UNLOADING")}, 503, "workers are not ready: b"),
        ({"a": (), "b": ("READY",)}, 503, "workers are not ready: a, b"),
        ({}, 503, "no model yet"),
    ],
)
def test_ready_is_every_worker_of_every_model(
    tmp_path: Path, models: dict[str, tuple[str, ...]], status: int, said: str
) -> None:
    listed = {"models": [{"modelName": name} for name in models]}
    told = {"/models?limit=1000": listed, **{f"/models/{name}": model(name, *each) for name, each in models.items()}}
    (port,) = free_ports(1)
    handler = type("Told", (Models,), {"told": told})
    with UnixStreamServer(str(tmp_path / "s"), handler) as upstream:
        thread = Thread(target=upstream.serve_forever)
        thread.start()
        with Guard(port, tmp_path / "s", Policy()):
            answer = Door(port).send("GET", "/readyz", Host="10.1.2.3:8081")  # a kubelet names the pod's address
            assert (answer[0], said in answer[1].decode()) == (status, True)
        upstream.shutdown()
        thread.join()


def test_ready_before_torchserve_listens(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Guard(port, tmp_path / "s", Policy()):
        status, body = Door(port).send("GET", "/readyz")
    assert (status, b"does not answer yet" in body) == (503, True)
