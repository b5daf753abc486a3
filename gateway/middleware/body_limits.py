"""The limit on a request's body, by its Content-Length and by what really arrives; and that it is plain. Pure ASGI."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_core.errors import ClipServeError, TooLarge, UnknownEncoding
from gateway.errors import error_response

STREAM_PATH = "/items/stream"


class BodyLimits:
    """Answers 413 before reading when the declared length is too large; counts a body as it comes.

    Bodies that are streamed have a limit of their own.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_stream_bytes: int) -> None:
        self.app = app
        self.max_bytes, self.max_stream_bytes = max_bytes, max_stream_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.max_stream_bytes if scope["path"].endswith(STREAM_PATH) else self.max_bytes
        try:
            _check_headers(scope["headers"], most)
        except ClipServeError as refused:
            await error_response(refused)(scope, receive, send)
            return
        await self.app(scope, _Counted(receive, most), send)


class _Counted:
    """The `receive` of one request. Raises TooLarge in the route that reads the body, so that its handler answers."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive, self.most = receive, most
        self.received = 0

    async def __call__(self) -> Message:
        message = await self.receive()
        self.received += len(message.get("body", b""))
        _check(self.received, self.most)
        return message


def _check_headers(headers: Iterable[tuple[bytes, bytes]], most: int) -> None:
    """Raises TooLarge or UnknownEncoding."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            _check(int(value), most)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            encoding = value[:64].decode("latin-1")
            raise UnknownEncoding(f"the body is encoded as {encoding!r}; send it plain, without Content-Encoding")


def _check(received: int, most: int) -> None:
    if received > most:
        raise TooLarge(f"the request's body is larger than {most} bytes")
