"""API keys: everything needs one except health, the page and the docs; and who the caller is. Pure ASGI."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from clip_core.errors import ClipServeError, Forbidden, Unauthorized
from gateway.connections.connection_limit import network_of
from gateway.errors import error_response
from gateway.keys.api_key import ANONYMOUS, ApiKey, current_key, set_current_key
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.scopes import collection_of, scope_of
from gateway.middleware.allowed_hosts import PROBES, HostList
from gateway.trace import current_trace

OPEN_PATHS = PROBES - {"/metrics"} | {"/", "/dashboard", "/docs", "/openapi.json", "/favicon.ico"}
OPEN_PREFIX = "/ui/"
_OWN_SITE = (b"same-origin", b"none")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class AuthMiddleware:
    """Answers 401 to a call without an accepted key and 403 to one that its key does not cover.

    Without any keys it turns away other sites' pages, and names that are not on the list.
    """

    def __init__(self, app: ASGIApp, keys: KeyLookup, hosts: HostList, open_paths: frozenset[str]) -> None:
        self.app = app
        self.keys = keys
        self.hosts = hosts
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._check(scope)
            except ClipServeError as refused:
                await error_response(refused)(scope, receive, send)
                return
            current_trace().caller = caller_of(current_key(), scope.get("client"))
        await self.app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        path = scope["path"]
        if not is_open(path, self.open_paths):
            await self.keys.refresh()
        if not self.keys:
            if path not in PROBES:
                host = self.hosts.check(scope["headers"])
                _check_origin(scope["method"], scope["headers"], host)
            set_current_key(ANONYMOUS)
        elif not is_open(path, self.open_paths):
            set_current_key(self._admit(scope))

    def _admit(self, scope: Scope) -> ApiKey:
        key = identified(self.keys, Headers(scope=scope))
        key.check_scope(scope_of(scope["method"], scope["path"]))
        collection = collection_of(scope["path"])
        if collection is not None:
            key.check_collection(collection)
        return key


def identified(keys: KeyLookup, headers: Headers) -> ApiKey:
    """Whose key came with these headers. Raises Unauthorized when it is none that is accepted."""
    given = presented_key(headers)
    if given is None:
        raise Unauthorized("an API key is needed: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    return keys.identify(given)


def caller_of(key: ApiKey, client: tuple[str, int] | None) -> str:
    """Who shares limits and turns: a key, or without keys an address (of IPv6 a network of 64 bits); never empty."""
    if key is not ANONYMOUS:
        return key.id
    return network_of(client[0]) if client else "unknown"


def is_open(path: str, open_paths: frozenset[str]) -> bool:
    """Whether the path needs no key, and so belongs to none."""
    return path in open_paths or path.startswith(OPEN_PREFIX)


def presented_key(headers: Headers) -> str | None:
    """The key of `Authorization: Bearer KEY` or `X-API-Key: KEY`, whichever is there."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or None


def _check_origin(method: str, headers: Iterable[tuple[bytes, bytes]], host: bytes) -> None:
    """Without keys, loopback is the only fence, and a web page that the user visits stands inside it.

    Browsers send `Origin` with every POST, PUT and DELETE, and most send `Sec-Fetch-Site`; only a page of this very
    gateway may make them. What a GET answers they keep from other sites' pages.
    """
    if method in _SAFE_METHODS:
        return
    for name, origin in headers:
        if name == b"sec-fetch-site" and origin.lower() not in _OWN_SITE:
            raise Forbidden("pages of other sites may not call this gateway while it has no API keys")
        if name == b"origin" and origin.lower().partition(b"://")[2] != host.lower():
            given = origin[:200].decode("latin-1")
            raise Forbidden(f"pages of {given} may not call this gateway while it has no API keys")
