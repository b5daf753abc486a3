"""One HTTP request to the gateway's own app, without a socket. All layers treat it as any other request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Scope

Headers = Sequence[tuple[bytes, bytes]]
Address = tuple[str, int]


@dataclass(frozen=True)
class HttpCall:
    """`path` is not percent-encoded."""

    method: str
    path: str
    headers: Headers = ()
    content: bytes = b""


@dataclass
class HttpAnswer:
    """Names of headers are in lower case."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""


async def answer_of(app: ASGIApp, call: HttpCall, client: Address | None) -> HttpAnswer:
    """When this is cancelled, the app sees a client that has left."""
    exchange = _InProcessExchange(call.content)
    task = asyncio.ensure_future(app(_scope(call, client), exchange.receive, exchange.send))
    try:
        await asyncio.shield(task)
    finally:
        exchange.left.set()
    return exchange.answer


class _InProcessExchange:
    """The `receive` and `send` of one request."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self.left = asyncio.Event()
        self.answer = HttpAnswer()

    async def receive(self) -> Message:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self.answer.content += message.get("body", b"")


def _scope(call: HttpCall, client: Address | None) -> Scope:
    """Of a Host that needs no leave: it keeps web pages out, and none can speak gRPC."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": quote(call.path).encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), *call.headers],
        "client": client,
        "server": None,
    }
