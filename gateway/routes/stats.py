"""/v1/stats: the live panel's and the dashboard's figures, the slowest requests, scalers, the gateway's own profile."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from gateway.errors import JsonResponse
from gateway.history.series import RANGES, series
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.openapi import answers
from gateway.schemas.stats import HistoryAnswer, SlowAnswer, StatsAnswer
from gateway.services import services
from gateway.stats import Stats

router = APIRouter(route_class=StrictRoute, tags=["operations"])
Range = Annotated[
    Literal["5m", "15m", "1h"],
    Query(alias="range", description="Five minutes, a quarter of an hour, or an hour.", examples=["15m"]),
]


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


@router.get("/v1/stats/history", responses=answers(HistoryAnswer))
async def history(
    request: Request,
    range_: Range = "15m",
) -> JsonResponse:
    """What this gateway did in the last hour or less: columns with a value for each step. Needs the scope `admin`."""
    given = services(request)
    told = await asyncio.to_thread(series, given.history.rows(), range_, given.history.now())
    lists = await asyncio.gather(*map(given.captioners.endpoints, given.models.all()))
    endpoints = dict.fromkeys(name for names in lists for name in names)
    captions = bool(await given.captioners.all())
    return JsonResponse({"range": range_, "endpoints": list(endpoints), "captions": captions, **told})


@router.get("/v1/stats/scaling", include_in_schema=False)
async def scaling(request: Request, endpoint: str | None = None, range_: Range = "15m") -> JsonResponse:
    """What scalers decided on, and why: all sizes, and the decisions on one endpoint. Needs the scope `admin`."""
    return JsonResponse(await services(request).scalers.told(endpoint, RANGES[range_][0]))
