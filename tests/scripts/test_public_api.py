"""Calls of the command line's own HTTP: no proxy on the way to this machine, and answers that are none."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clip_core.errors import BadInput, ClipServeError, TorchServeUnavailable, Unavailable
from scripts.collections.index_files import export_parquet
from scripts.models.management import Management
from scripts.public_api import PublicApi
from scripts.stack.torchserve import Endpoint, workers

DESCRIBED = b'[{"modelVersion": "1.0", "workers": [{"status": "READY"}], "minWorkers": 1}]'


@contextlib.contextmanager
def saying(*answers: bytes) -> Iterator[str]:
    """A server that gives these bytes to one connection after the other, the last one again and again."""
    left = list(answers)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(left.pop(0) if len(left) > 1 else left[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode() + body


def test_no_proxy_stands_between_this_machine_and_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with saying(answer(DESCRIBED)) as url:
        assert PublicApi(url).call("GET", "/x")[0]["minWorkers"] == 1
        assert Management(url, url).default_version("clip_text") == "1.0"
        assert workers(url, ["clip_text"]) == [Endpoint("clip_text", 1, 1)]


@pytest.mark.parametrize("told", [answer(b"<html>"), answer(b"{}", length=9), b"nonsense\r\n\r\n", b""])
def test_what_is_no_answer_is_an_error_of_ours(told: bytes) -> None:
    with saying(told) as url:
        with pytest.raises(Unavailable):
            PublicApi(url).call("GET", "/x")
        with pytest.raises(TorchServeUnavailable):
            Management(url, url).default_version("clip_text")
        assert workers(url) == []
    with pytest.raises(Unavailable, match="does not answer"):
        PublicApi("http://127.0.0.1:1").call("GET", "/x")


def test_errors_are_told_in_torchserves_words() -> None:
    with (
        saying(answer(b'{"code": 404, "message": "Model not found: x"}', "404 Not Found")) as url,
        pytest.raises(TorchServeUnavailable, match="Model not found: x"),
    ):
        Management(url, url).default_version("x")


@pytest.mark.parametrize(
    ("download", "error"),
    [
        (answer(b"half", length=9), Unavailable),
        (answer(b'{"error": {"message": "gone", "code": "bad_input"}}', "400 Bad Request"), BadInput),
    ],
)
def test_an_export_that_breaks_off_leaves_no_file(tmp_path: Path, download: bytes, error: type[ClipServeError]) -> None:
    made, gone = answer(b'{"name": "c.1.parquet"}'), answer(b"{}")
    with saying(made, download, gone) as url, pytest.raises(error):
        export_parquet(PublicApi(url), "c", tmp_path / "c.parquet")
    assert list(tmp_path.iterdir()) == []
