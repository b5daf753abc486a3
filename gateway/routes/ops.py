"""Health, readiness, metrics and the list of models."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from clip_core.exposition import exposition
from gateway.endpoint_loads import endpoint_loads
from gateway.errors import JsonResponse
from gateway.models.listing import list_all, shown
from gateway.readiness import verdict_error
from gateway.routes.plain_route import PlainRoute
from gateway.schemas.openapi import ENCODES, answers
from gateway.schemas.operations import HealthAnswer, Limits, ModelFacts, ModelsAnswer, NotReadyAnswer, ReadyAnswer
from gateway.services import Services, services

router = APIRouter(route_class=PlainRoute, tags=["operations"])
_EXAMPLE = "# TYPE clipserve_gateway_requests_in_flight gauge\nclipserve_gateway_requests_in_flight 1.0\n"
_METRICS: dict[int | str, dict[str, Any]] = {
    **answers(HealthAnswer),
    200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}},
}


@router.get("/health", include_in_schema=False)
@router.get("/v1/health", include_in_schema=False)
async def health() -> JsonResponse:
    """As Infinity's clients ask, with and without the prefix that its servers may have."""
    return JsonResponse({"unix": time.time()})


@router.get("/healthz", responses=answers(HealthAnswer))
async def healthz() -> JsonResponse:
    """The gateway's process answers."""
    return JsonResponse({"status": "ok"})


@router.get("/readyz", responses={**answers(ReadyAnswer), 503: {"model": NotReadyAnswer}})
async def readyz(request: Request) -> JsonResponse:
    """200 when every endpoint of the default model embeds a canary and the index answers; else 503 naming the part.

    `models` tells of the other models and of captioners, which change nothing in the status.
    """
    parts, others = await services(request).readiness.report()
    told = {"parts": parts, "models": others}
    error = verdict_error(parts)
    if error is None:
        return JsonResponse({"status": "ready", **told})
    return JsonResponse({**error.to_dict(), "status": "not ready", **told}, status_code=503)


@router.get("/metrics", response_class=Response, responses=_METRICS)
async def metrics(request: Request) -> Response:
    """Prometheus text, or OpenMetrics with exemplars for who accepts that."""
    given = services(request)
    given.metrics.show_expiries(given.expiries.read())
    given.metrics.show_loads(await endpoint_loads(given.captioners))
    write, media_type = exposition(request.headers.get("accept", ""))
    return Response(write(given.metrics.registry), headers={"Content-Type": media_type})


@router.get("/models", include_in_schema=False)
@router.get("/v1/models", responses=answers(ModelsAnswer, *ENCODES))
async def list_models(request: Request) -> JsonResponse:
    """The served models, the default first, in the form of OpenAI's list; one that does not answer says so."""
    given = services(request)
    limits = _limits(given)
    models = [{**model, "limits": limits} for model in await list_all(given.models, given.captioners)]
    return JsonResponse({"object": "list", "data": models, "limits": limits})


@router.get("/v1/models/{model_id:path}", responses=answers(ModelFacts, *ENCODES))
async def show_model(
    request: Request, model_id: Annotated[str, Path(description="The model's name.", examples=["demo"])]
) -> JsonResponse:
    """One served model: its dimension, context length, precision, licence, and where its weights came from."""
    given = services(request)
    found = await given.models.find(model_id)
    model = await shown(found, given.captioners, default=found is given.models.default())
    return JsonResponse({**model, "limits": _limits(given)})


def _limits(given: Services) -> dict[str, int]:
    return {name: getattr(given.settings, name) for name in Limits.model_fields}
