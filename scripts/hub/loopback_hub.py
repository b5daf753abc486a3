"""A hub on loopback, for tests and benchmarks: what huggingface_hub asks of huggingface.co, and faults to order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from scripts.hub.digests import git_digest_of, sha256_of

_LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".model")
_RANGE = re.compile(r"bytes=(\d+)-")
_CHUNK = 1 << 16


@dataclass
class Repository:
    """A folder as a repository of one commit."""

    folder: Path
    status: int = 200  # 401: private; 403: gated; 503: out of order

    @property
    def commit(self) -> str:
        names = [f"{path.name}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in self.paths]
        return hashlib.sha1("\n".join(names).encode(), usedforsecurity=False).hexdigest()

    @property
    def paths(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@dataclass
class Faults:
    """Of the transfer of large files."""

    cut_after: int | None = None  # bytes of one answer, then the connection ends
    cuts: int = 0  # how many answers are cut; each is counted down
    wrong_bytes: bool = False
    seconds_a_chunk: float = 0.0
    silent: bool = False  # connections are taken and nothing is answered


@dataclass
class LoopbackHub:
    """`repositories`: ORG/NAME → what it holds; `asked`: (method, path, Range) of every request."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    def add(self, name: str, folder: Path, **facts: Any) -> Repository:
        self.repositories[name] = Repository(folder, **facts)
        return self.repositories[name]

    def gets(self, ending: str) -> list[tuple[str, str, str]]:
        return [each for each in self.asked if each[0] == "GET" and each[1].endswith(ending)]


@contextlib.contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    """Serves until the end of the block; `HF_ENDPOINT` is its `url`."""
    hub = LoopbackHub()
    over = threading.Event()

    class _Bound(_Answer):
        the_hub = hub
        ends = over

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bound)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        over.set()
        server.shutdown()
        server.server_close()


class _Answer(BaseHTTPRequestHandler):
    the_hub: LoopbackHub
    ends: threading.Event
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.the_hub.asked.append((self.command, path, self.headers.get("Range", "")))
        if self.the_hub.faults.silent:
            self.ends.wait()
            return
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        repository = self.the_hub.repositories.get(found.group(1)) if found else None
        if found is None or repository is None:
            self._refuse(404, "RepoNotFound")
        elif repository.status != 200:
            self._refuse(repository.status, {401: "RepoNotFound", 403: "GatedRepo"}.get(repository.status, ""))
        elif found.group(2) not in (None, "main", repository.commit):
            self._refuse(404, "RevisionNotFound")
        elif api:
            self._describe(found.group(1), repository)
        else:
            self._send_file(repository, repository.folder / found.group(3))

    do_HEAD = do_GET = _answer

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"X-Error-Code": code, "Content-Length": "0"} if code else {"Content-Length": "0"})

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _describe(self, name: str, repository: Repository) -> None:
        siblings = []
        for path in repository.paths:
            size, etag = path.stat().st_size, etag_of(path)
            large = {"lfs": {"sha256": etag, "size": size, "pointerSize": 134}} if len(etag) == 64 else {}
            siblings.append(
                {
                    "rfilename": path.relative_to(repository.folder).as_posix(),
                    "size": size,
                    "blobId": etag[:40],
                    **large,
                }
            )
        facts = {"id": name, "modelId": name, "sha": repository.commit, "private": False, "siblings": siblings}
        body = json.dumps(facts | {"tags": [], "downloads": 0, "likes": 0}).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _send_file(self, repository: Repository, path: Path) -> None:
        if not path.is_file():
            self._refuse(404, "EntryNotFound")
            return
        size, etag = path.stat().st_size, etag_of(path)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(asked.group(1)) if asked else 0
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if len(etag) == 64:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)}
        headers["Content-Length"] = str(size - start)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self._send(206 if asked else 200, headers)
        if self.command == "GET":
            self._send_bytes(path, start, large=len(etag) == 64)

    def _send_bytes(self, path: Path, start: int, large: bool) -> None:
        faults, sent = self.the_hub.faults if large else Faults(), 0
        limit = faults.cut_after if faults.cuts > 0 else None
        with path.open("rb") as file, contextlib.suppress(ConnectionError):
            file.seek(start)
            while chunk := file.read(_CHUNK if limit is None else min(_CHUNK, limit - sent)):
                self.wfile.write(bytes(len(chunk)) if faults.wrong_bytes else chunk)
                sent += len(chunk)
                if faults.seconds_a_chunk:
                    time.sleep(faults.seconds_a_chunk)
            if limit is not None:
                faults.cuts -= 1
                self.close_connection = True


_ETAGS: dict[tuple[Path, int, int], str] = {}


def etag_of(path: Path) -> str:
    """SHA-256 of large files, as of those in LFS; git's digest of the others."""
    key = (path, path.stat().st_size, path.stat().st_mtime_ns)
    if key not in _ETAGS:
        _ETAGS[key] = sha256_of(path) if path.suffix in _LFS_SUFFIXES else git_digest_of(path)
    return _ETAGS[key]
