"""The real process: how it starts, how it fails to, and how it stops."""

from __future__ import annotations

import signal
import socket
import sqlite3
import time
from http.client import HTTPConnection
from pathlib import Path

import httpx

from index_service.record.schema import SCHEMA_VERSION
from tests.index_service.helpers import JSON, Service
from tests.waiting import until


def assert_refused(service: Service, *words: str) -> None:
    """Exit code 1 after one line on stderr that holds all of `words`."""
    assert service.wait() == 1
    (line,) = service.lines
    assert line.startswith("index_service: ")
    assert all(word in line for word in words), line


def test_sigterm_stops_it_cleanly_within_five_seconds(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with httpx.Client(base_url=service.url()) as client:
        client.put("/collections/a", json={"model": "m", "fingerprint": "f", "dim": 2})
        began = time.monotonic()
        assert service.stop() == 0
    assert time.monotonic() - began < 5
    assert not (tmp_path / "index.sqlite3-wal").exists()
    assert "Traceback" not in "".join(service.lines)


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service = Service(tmp_path, port=taken.getsockname()[1])
        assert_refused(service, "can't listen on 127.0.0.1", "CLIPSERVE_INDEX_PORT")


def test_other_failed_starts_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    newer = tmp_path / "newer"
    newer.mkdir()
    with sqlite3.connect(newer / "index.sqlite3") as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    services = [
        (Service(tmp_path / "file" / "x"), ("can't be written", "CLIPSERVE_INDEX_DATA_DIR")),
        (Service(newer), ("schema version", "newer clipserve")),
        (Service(tmp_path, port="many"), ("CLIPSERVE_INDEX_PORT",)),
    ]
    for service, words in services:
        assert_refused(service, *words)


def test_a_second_process_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = Service(tmp_path)
    try:
        first.url()
        assert_refused(Service(tmp_path), "another process holds", "CLIPSERVE_INDEX_DATA_DIR")
    finally:
        first.kill()


def test_too_large_a_body_gets_its_answer_over_a_real_connection(tmp_path: Path) -> None:
    service = Service(tmp_path, max_body_bytes=1000)
    try:
        with httpx.Client(base_url=service.url(), headers=JSON) as client:
            for content in (b" " * 2000, iter([b" " * 600] * 3)):
                answer = client.post("/search", content=content)
                assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
                assert client.get("/healthz").status_code == 200
    finally:
        service.kill()


def test_the_record_is_closed_to_other_users(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    outside.chmod(0o644)
    folder = tmp_path / "data"
    for _ in range(2):
        service = Service(folder)
        service.url()
        assert service.stop() == 0
        modes = [path.lstat().st_mode & 0o777 for path in (folder, folder / "index.sqlite3", folder / "lock")]
        assert modes == [0o700, 0o600, 0o600]
        folder.chmod(0o755)  # as an earlier version left them
        (folder / "index.sqlite3").chmod(0o644)
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(outside)
    assert outside.stat().st_mode & 0o777 == 0o644


def test_a_stop_answers_what_comes_on_open_connections_and_what_takes_too_long(tmp_path: Path) -> None:
    service = Service(tmp_path, stop_timeout_s=1)
    host, port = service.url().removeprefix("http://").split(":")
    kept, waiting = HTTPConnection(host, int(port), timeout=30), socket.create_connection((host, int(port)), timeout=30)
    head = f"Host: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: 100"
    waiting.sendall(f"POST /search HTTP/1.1\r\n{head}\r\n\r\n{{".encode())
    with waiting:
        assert ready(kept) == (200, None)
        service.process.send_signal(signal.SIGTERM)
        while (seen := ready(kept))[1] is None:
            pass
        assert seen == (503, "close")
        data = b"".join(iter(lambda: waiting.recv(65536), b""))
        assert b" 503 " in data
        assert b'"shutting_down"' in data
        assert b"retry-after: " in data
    assert service.wait() == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    service = Service(tmp_path, stop_timeout_s=3600)
    host, port = service.url().removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as waiting:
        waiting.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        service.process.send_signal(signal.SIGTERM)
        until(lambda: not listens(host, int(port)))
        service.process.send_signal(signal.SIGTERM)
        assert service.wait() == 0


def ready(connection: HTTPConnection) -> tuple[int, str | None]:
    connection.request("GET", "/readyz")
    with connection.getresponse() as response:
        response.read()
        return response.status, response.getheader("Connection")


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True
