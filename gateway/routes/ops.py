"""Health, readiness, metrics and the list of models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from gateway.errors import JsonResponse
from gateway.readiness import verdict_error
from gateway.routes.plain_route import PlainRoute
from gateway.schemas.openapi import ENCODES, answers
from gateway.schemas.operations import HealthAnswer, Limits, ModelsAnswer, NotReadyAnswer, ReadyAnswer
from gateway.services import services

router = APIRouter(route_class=PlainRoute, tags=["operations"])
_EXAMPLE = "# TYPE clipserve_gateway_requests_in_flight gauge\nclipserve_gateway_requests_in_flight 1.0\n"
_METRICS: dict[int | str, dict[str, Any]] = {
    **answers(HealthAnswer),
    200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}},
}


@router.get("/healthz", responses=answers(HealthAnswer))
async def healthz() -> JsonResponse:
    """The gateway's process answers."""
    return JsonResponse({"status": "ok"})


@router.get("/readyz", responses={**answers(ReadyAnswer), 503: {"model": NotReadyAnswer}})
async def readyz(request: Request) -> JsonResponse:
    """200 when every TorchServe endpoint embeds a canary and the index answers; else 503 naming the part."""
    report = await services(request).readiness.report()
    error = verdict_error(report)
    if error is None:
        return JsonResponse({"status": "ready", "parts": report})
    return JsonResponse({**error.to_dict(), "status": "not ready", "parts": report}, status_code=503)


@router.get("/metrics", response_class=Response, responses=_METRICS)
async def metrics(request: Request) -> Response:
    """Prometheus text."""
    return Response(generate_latest(services(request).metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/v1/models", responses=answers(ModelsAnswer, *ENCODES))
async def list_models(request: Request) -> JsonResponse:
    """The served model, in the form of OpenAI's list."""
    given = services(request)
    served = await given.encoder.describe()
    settings = given.settings
    model = {
        "id": served.model,
        "object": "model",
        "created": 0,
        "owned_by": "clipserve",
        "fingerprint": served.fingerprint,
        "dimensions": served.dim,
        "matryoshka_dimensions": served.matryoshka_dimensions,
        "endpoints": [settings.text_endpoint, settings.image_endpoint, settings.multimodal_endpoint],
        "limits": {name: getattr(settings, name) for name in Limits.model_fields},
    }
    return JsonResponse({"object": "list", "data": [model]})
