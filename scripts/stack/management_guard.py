"""TorchServe's management API behind a door that web pages can't pass.

A browser lets any page send some requests to loopback without asking first; one of those would register a model.
TorchServe itself listens on a Unix socket in the private run folder. This guard listens on the management port, and
forwards what no page can have sent: no `Origin`, no `Sec-Fetch-Site` of a page, and a `Host` that is this machine's (a
name that an attacker points to 127.0.0.1 is not). Workflows, which fetch URLs, are not forwarded. A token that
TorchServe asks for is the caller's to bring.

`/readyz` is the guard's own, for probes by any Host: TorchServe's `/ping` is healthy before its workers have loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from clip_core.errors import ClipServeError, Forbidden, TorchServeUnavailable
from clip_core.serving.torchserve_tokens import KEY_FILE, bearer
from scripts.processes.preflight import StackStartError
from scripts.stack.up_settings import UpSettings

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_PATH = re.compile(r"/(?:ping|api-description|token|models(?:/[\w.~-]+)*)?/?")  # plain segments only: nothing to decode
_SEGMENT_OF_DOTS = re.compile(r"/\.{1,2}(?:/|$)")
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host", "content-length"}
)
_READYZ = "/readyz"
_LONGEST_SOCKET_PATH = 100  # bytes; Linux takes 107
_WAIT_S = 10.0


@dataclass(frozen=True)
class Policy:
    """Whom the guard lets through; `hosts` besides loopback's names."""

    hosts: frozenset[str] = frozenset()
    read_only: bool = False

    def check(self, request: web.BaseRequest) -> None:
        """Raises Forbidden, which says why."""
        if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
            raise Forbidden("the management API takes no requests of web pages: call it from a program, such as curl")
        if _name(request.headers.getall("Host", [])) not in _LOOPBACK | self.hosts:
            raise Forbidden("this Host is not served: use 127.0.0.1, or name yours in CLIPSERVE_MANAGEMENT_HOSTS")
        path = request.raw_path.partition("?")[0]
        if not _PATH.fullmatch(path) or _SEGMENT_OF_DOTS.search(path):
            raise Forbidden("only /models, /ping, /token and /api-description are served here; workflows are closed")
        if self.read_only and (request.method not in _READING or path.startswith("/token")):
            raise Forbidden("the management API is read-only here: start with `--management guarded` to change models")


def _name(hosts: list[str]) -> str:
    """The Host header without its port; "" unless there is exactly one."""
    return re.sub(r":\d*$", "", hosts[0]).lower() if len(hosts) == 1 else ""


class Guard:
    """Forwards from `port` of `host` to the Unix socket `upstream`, in a thread with an event loop of its own.

    `key_file`: where TorchServe writes its tokens, if it asks for some; `/readyz` needs one.
    """

    def __init__(
        self, port: int, upstream: Path, policy: Policy, host: str = "127.0.0.1", key_file: Path | None = None
    ) -> None:
        self._host, self._port, self._upstream, self._policy = host, port, upstream, policy
        self._key_file = key_file
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="management", daemon=True)

    def __enter__(self) -> Guard:
        """Raises StackStartError when the port is taken."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_WAIT_S)
        except OSError as error:
            raise StackStartError(f"port {self._port} (management_port) can't be used: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT_S)
        self._loop.close()

    async def _open(self) -> None:
        connector = aiohttp.UnixConnector(str(self._upstream), force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)  # to register a model takes as long as it takes
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.path == _READYZ:
                return await self._readiness()
            self._policy.check(request)
            return await self._forward(request)
        except ClipServeError as error:
            return web.json_response(error.to_dict(), status=error.status, headers={"Connection": "close"})

    async def _readiness(self) -> web.Response:
        """200 when every worker of every model has loaded. Raises TorchServeUnavailable that names the others."""
        try:
            names = [model["modelName"] for model in (await self._json("/models?limit=1000"))["models"]]
            loaded = [name for name in names if _has_loaded((await self._json(f"/models/{name}"))[0])]
        except (aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
            raise TorchServeUnavailable("TorchServe does not answer yet") from error
        if missing := ", ".join(name for name in names if name not in loaded):
            raise TorchServeUnavailable(f"workers are not ready: {missing}")
        if not names:
            raise TorchServeUnavailable("TorchServe has no model yet")
        return web.json_response({"status": "ready", "models": names})

    async def _json(self, path: str) -> Any:
        token = bearer(self._key_file, "management")
        async with self._session.get(f"http://localhost{path}", headers=token) as answer:
            return await answer.json(content_type=None)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        body = await request.read()
        url = URL(f"http://localhost{request.raw_path}", encoded=True)
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except aiohttp.ClientError as error:
            raise TorchServeUnavailable("TorchServe's management API does not answer; try again in a moment") from error


def _has_loaded(model: Mapping[str, Any]) -> bool:
    ready = sum(worker["status"] == "READY" for worker in model["workers"])
    return bool(ready >= model["minWorkers"])


@contextlib.contextmanager
def guarded(
    settings: UpSettings, run_dir: Path, host: str = "127.0.0.1", token_dir: Path | None = None
) -> Iterator[str | None]:
    """Where TorchServe's management API is to listen; None: on its port, without a guard. `host`: of the guard.

    `token_dir`: where TorchServe writes its tokens, if not into the run folder.
    """
    if settings.management == "open":
        yield None
        return
    hosts = frozenset(name.strip().lower() for name in settings.management_hosts.split(",") if name.strip())
    policy = Policy(hosts, settings.management == "read-only")
    key_file = (token_dir or run_dir) / KEY_FILE if settings.token_authorization else None
    with _socket_path(run_dir) as path, Guard(settings.management_port, path, policy, host, key_file):
        yield f"unix:{path}"


@contextlib.contextmanager
def _socket_path(run_dir: Path) -> Iterator[Path]:
    """In the run folder, or in a private one with a shorter name where Linux could not take the path."""
    path = run_dir / "management.sock"
    if len(str(path).encode()) <= _LONGEST_SOCKET_PATH:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="clipserve-") as short:
        yield Path(short) / "management.sock"
