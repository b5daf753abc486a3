"""API keys: everything needs one except health, the page and the docs. Pure ASGI."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from clip_core.errors import ClipServeError, Forbidden, Unauthorized
from gateway.errors import error_response

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico"})
OPEN_PREFIX = "/ui/"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class KeyRing:
    """The accepted keys, kept and compared as digests so that the time taken says nothing about them."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accepts(self, key: str) -> bool:
        given = _digest(key)
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


class AuthMiddleware:
    """Answers 401 to a call without an accepted key; without any keys it turns away other sites' pages."""

    def __init__(self, app: ASGIApp, keys: KeyRing, open_paths: frozenset[str] = OPEN_PATHS) -> None:
        self.app = app
        self.keys = keys
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        if refused is not None:
            await error_response(refused)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ClipServeError | None:
        if scope["path"] in self.open_paths or scope["path"].startswith(OPEN_PREFIX):
            return None
        headers = Headers(scope=scope)
        if not self.keys:
            return _cross_origin(scope["method"], headers)
        given = presented_key(headers)
        if given is None:
            return Unauthorized("an API key is needed: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        return None if self.keys.accepts(given) else Unauthorized("this API key is not accepted")


def presented_key(headers: Headers) -> str | None:
    """The key of `Authorization: Bearer KEY` or `X-API-Key: KEY`, whichever is there."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or None


def _cross_origin(method: str, headers: Headers) -> Forbidden | None:
    """Without keys, loopback is the only fence, and a web page that the user visits stands inside it.

    Browsers send `Origin` with every POST, PUT and DELETE; only a page of this very gateway may make them.
    """
    origin = headers.get("origin")
    if method in _SAFE_METHODS or origin is None or urlsplit(origin).netloc == headers.get("host"):
        return None
    return Forbidden(f"pages of {origin[:200]} may not call this gateway while it has no API keys")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
