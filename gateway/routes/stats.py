"""/v1/stats: the figures behind the page's live panel, the slowest requests, and the gateway's profile of itself."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from gateway.errors import JsonResponse
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.openapi import answers
from gateway.schemas.stats import SlowAnswer, StatsAnswer
from gateway.services import services
from gateway.stats import Stats

router = APIRouter(route_class=StrictRoute, tags=["operations"])


@router.get("/v1/stats", responses=answers(StatsAnswer))
async def stats(request: Request) -> JsonResponse:
    """Requests, latency, batches, cache and memory since the start; take the difference of two answers for a rate."""
    given = services(request)
    return JsonResponse(await Stats(given.metrics, given.models).read())


@router.get("/v1/stats/slow", responses=answers(SlowAnswer))
async def slow(request: Request) -> JsonResponse:
    """The slowest requests of the last hour that this gateway answered, with their stages. Needs the scope `admin`."""
    return JsonResponse({"requests": services(request).metrics.slowest.all()})


@router.post("/v1/stats/profile", include_in_schema=False)
async def profile(request: Request, seconds: int = 10, memory: bool = False) -> JsonResponse:
    """What `clipserve profile gateway` asks for. Needs the scope `admin`."""
    taker = services(request).self_profiler
    return JsonResponse(await asyncio.to_thread(taker.take, seconds, memory=memory))
