"""The limit on a request's body, by its Content-Length and by what really arrives; and that it is plain. Pure ASGI."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_core.errors import ClipServeError, TooLarge, UnknownEncoding
from gateway.errors import error_response

STREAM_PATH = "/items/stream"


class BodyLimitMiddleware:
    """Answers 413 before reading when the declared length is too large; counts a streamed body as it comes."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_headers(scope["headers"])
        except ClipServeError as refused:
            await error_response(refused)(scope, receive, send)
            return
        await self.app(scope, _Counted(receive, self), send)

    def _check_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises TooLarge or UnknownEncoding."""
        for name, value in headers:
            if name == b"content-length" and value.isdigit():
                self.check(int(value))
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                encoding = value[:64].decode("latin-1")
                raise UnknownEncoding(f"the body is encoded as {encoding!r}; send it plain, without Content-Encoding")

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the request's body is larger than {self.max_bytes} bytes")

    def check(self, received: int) -> None:
        """Raises TooLarge; about what has arrived inside the route that reads the body, so that its handler answers."""
        if received > self.max_bytes:
            raise self._too_large()


class _Counted:
    """The `receive` of one request: raises TooLarge as soon as more than the limit has come."""

    def __init__(self, receive: Receive, limit: BodyLimitMiddleware) -> None:
        self.receive = receive
        self.limit = limit
        self.received = 0

    async def __call__(self) -> Message:
        message = await self.receive()
        self.received += len(message.get("body", b""))
        self.limit.check(self.received)
        return message


class BodyLimits:
    """One limit for bodies that are read whole, a larger one for those that are streamed. Pure ASGI."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_stream_bytes: int) -> None:
        self._whole = BodyLimitMiddleware(app, max_bytes)
        self._streamed = BodyLimitMiddleware(app, max_stream_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streamed = scope["type"] == "http" and scope["path"].endswith(STREAM_PATH)
        await (self._streamed if streamed else self._whole)(scope, receive, send)
