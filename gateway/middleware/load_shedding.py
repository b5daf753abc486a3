"""While texts are being turned away, most of them are so before their bodies are parsed. Pure ASGI.

It keeps an overload cheap. What may be more than texts goes on: the encoder, which knows its endpoint, may refuse it.
"""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.keys.scopes import scope_of
from gateway.middleware.request_buffering import replayed
from gateway.trace import current_trace

_SMALL_BYTES = 8192
_MORE_THAN_TEXT = (b"image", b"vector", b"like", b"query")
_ENCODING = ("embed", "search")


class Shedding(Protocol):
    """As much of an AdmissionController as tells whether texts are turned away."""

    @property
    def sheds(self) -> bool: ...

    def check(self, caller: str) -> None: ...


class LoadShedding:
    """Below RequestBuffering; `texts` is the admission of the endpoints of texts."""

    def __init__(self, app: ASGIApp, texts: Shedding) -> None:
        self.app = app
        self.texts = texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.texts.sheds and scope["type"] == "http" and scope["method"] == "POST":
            receive = await self._checked(scope, receive)
        await self.app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Raises Overloaded."""
        if scope_of("POST", scope["path"]) not in _ENCODING:
            return receive
        message = await receive()
        if is_text(message.get("body", b"")):
            self.texts.check(current_trace().caller)
        return replayed(message, receive)


def is_text(body: bytes) -> bool:
    """Whether a body can hold nothing but texts."""
    return len(body) <= _SMALL_BYTES and not any(word in body.lower() for word in _MORE_THAN_TEXT)
