"""What each request costs its key, and how many of them it may have under way. Pure ASGI."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from clip_core.errors import RateLimited
from gateway.counts import Counts
from gateway.keys.api_key import ApiKey, current_key
from gateway.keys.quotas import Quotas
from gateway.middleware.auth import is_open


class MeterMiddleware:
    """Charges one request, and holds the key to its number of requests at the same time. Below DeadlineMiddleware,
    which answers what is raised here.
    """

    def __init__(self, app: ASGIApp, quotas: Quotas, open_paths: frozenset[str]) -> None:
        self.app = app
        self.quotas = quotas
        self.open_paths = open_paths
        self.under_way = Counts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"], self.open_paths):
            await self.app(scope, receive, send)
            return
        key = current_key()
        self._enter(key)
        try:
            await self.quotas.spend(key, "requests", 1)
            await self.app(scope, receive, send)
        finally:
            self.under_way.add(key.id, -1)

    def _enter(self, key: ApiKey) -> None:
        """Raises RateLimited. Nothing else runs between the check and the count, so that no two take the last place."""
        most = self.quotas.limits_of(key).concurrency
        if most is not None and self.under_way.get(key.id, 0) >= most:
            raise RateLimited(f"this API key has {most} requests under way, which is all that it may")
        self.under_way.add(key.id, 1)
