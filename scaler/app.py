"""The scaler over HTTP: sizes as KEDA's metrics API scaler reads them, their reasons, and metrics."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clip_core.errors import ClipServeError, InvalidRequest, MethodNotAllowed, NotFound, Unavailable
from scaler.metrics import ScalerMetrics
from scaler.scaler import ScaledEndpoint, Scaler

Json = dict[str, Any]


def create_app(scaler: Scaler) -> Starlette:
    """It starts the scaler, and stops it at its end."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        scaler.start()
        yield
        await scaler.stop()

    registry = CollectorRegistry()
    registry.register(ScalerMetrics(scaler))
    app = Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/v1/sizes", _sizes),
            Route("/v1/sizes/{endpoint}", _size),
            Route("/v1/sizes/{endpoint}/history", _history),
            Route("/metrics", _metrics),
        ],
        exception_handlers={ClipServeError: _on_error, HTTPException: _on_http_error, Exception: _on_fault},
        lifespan=lifespan,
    )
    app.state.scaler, app.state.registry = scaler, registry
    return app


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _sizes(request: Request) -> Response:
    scaler: Scaler = request.app.state.scaler
    return JSONResponse({"sizes": [described(name, each) for name, each in scaler.endpoints.items() if each.decision]})


async def _size(request: Request) -> Response:
    """`size` is what KEDA takes (`valueLocation: size`, `targetValue: "1"`). 503 until the first decision."""
    name, each = _found(request)
    if each.decision is None:
        raise Unavailable(f"nothing is decided on {name} yet")
    return JSONResponse(described(name, each))


async def _history(request: Request) -> Response:
    """Decisions, the oldest first; with `seconds` those of so many last ones."""
    decisions = list(_found(request)[1].history)
    try:
        seconds = float(request.query_params.get("seconds", "inf"))
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InvalidRequest("seconds must be a number of 0 or more")
    since = decisions[-1]["at"] - seconds if decisions else 0.0
    return JSONResponse({"decisions": [each for each in decisions if each["at"] >= since]})


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ClipServeError)
    return JSONResponse(error.to_dict(), status_code=error.status)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """No such route, or no such method of one."""
    assert isinstance(error, HTTPException)
    kind = MethodNotAllowed if error.status_code == MethodNotAllowed.status else NotFound
    told = kind(f"{request.method} {request.url.path[:200]}: {error.detail}")
    return JSONResponse(told.to_dict(), status_code=error.status_code, headers=error.headers)


async def _on_fault(_: Request, __: Exception) -> Response:
    return JSONResponse(ClipServeError("the scaler failed; see its log").to_dict(), status_code=500)


def _found(request: Request) -> tuple[str, ScaledEndpoint]:
    """Raises NotFound."""
    name = request.path_params["endpoint"]
    scaler: Scaler = request.app.state.scaler
    if name not in scaler.endpoints:
        raise NotFound(f"{name} is not scaled here; {', '.join(scaler.endpoints)} are")
    return name, scaler.endpoints[name]


def described(name: str, each: ScaledEndpoint) -> Json:
    """The last decision with its reasons, in busy workers."""
    decision = each.decision
    assert decision is not None
    return {
        "endpoint": name,
        "size": decision.size,
        "ready": each.count.ready if each.count is not None else None,
        "demand": decision.demand,
        "forecast": {"point": decision.point, "upper": decision.upper, "method": decision.method},
        "reason": decision.reason,
    }
