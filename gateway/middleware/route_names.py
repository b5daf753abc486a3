"""By which route a request is counted: also one that a layer refused before it reached the routes."""

from __future__ import annotations

from functools import lru_cache

from starlette.routing import Match
from starlette.types import ASGIApp, Scope

UNMATCHED = "unmatched"


class RouteNames:
    """Those of one app. The last few paths are remembered, so that refusals stay cheap in an overload."""

    def __init__(self) -> None:
        self._found = lru_cache(maxsize=64)(_found)

    def of(self, scope: Scope) -> str:
        """Such as `/v1/collections/{name}`; UNMATCHED where there is no such route."""
        route, app = scope.get("route"), scope.get("app")
        if route is not None or app is None or "router" in scope:  # the last: it was looked for
            return str(getattr(route, "path", UNMATCHED))
        return self._found(app, scope["method"], scope["path"])


def _found(app: ASGIApp, method: str, path: str) -> str:
    """One that takes another method counts, too."""
    scope = {"type": "http", "method": "GET" if method == "HEAD" else method, "path": path, "headers": []}
    matched = {route.matches(scope)[0]: route for route in reversed(getattr(app, "routes", []))}
    return str(getattr(matched.get(Match.FULL, matched.get(Match.PARTIAL)), "path", UNMATCHED))
