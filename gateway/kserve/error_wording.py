"""Under /v2 errors are worded as by KServe and Triton: `{"error": "what is wrong"}`. Pure ASGI, the outermost layer."""

from __future__ import annotations

import orjson
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OTHERS = ("/v2/embed",)  # Cohere's


class KserveErrors:
    """Whichever layer refuses a call of /v2: its envelope becomes one line of text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_kserve(scope["path"]):
            send = _Reworded(send)
        await self.app(scope, receive, send)


def is_kserve(path: str) -> bool:
    """Whether the path is one of the protocol, or looks like it."""
    return (path == "/v2" or path.startswith("/v2/")) and path not in _OTHERS


class _Reworded:
    """The `send` of one request: holds back an error until all of it is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._content = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._content += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        content = _reworded(self._content)
        if content:
            MutableHeaders(scope=start)["Content-Length"] = str(len(content))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": content})


def _reworded(content: bytes) -> bytes:
    """The envelope's message, after the place that it is about; nothing where a HEAD request gets nothing."""
    if not content:
        return b""
    error = orjson.loads(content)["error"]
    return orjson.dumps({"error": ": ".join(filter(None, (error["param"], error["message"])))})
