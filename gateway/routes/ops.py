"""Health, readiness, metrics and the list of models."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from gateway.errors import JsonResponse
from gateway.openapi import ERRORS
from gateway.readiness import verdict_error
from gateway.services import services

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> JsonResponse:
    """The gateway's process answers."""
    return JsonResponse({"status": "ok"})


@router.get("/readyz", responses=ERRORS)
async def readyz(request: Request) -> JsonResponse:
    """200 when every TorchServe endpoint embeds a canary and the index answers; else 503 naming the part."""
    report = await services(request).readiness.report()
    error = verdict_error(report)
    if error is None:
        return JsonResponse({"status": "ready", "parts": report})
    return JsonResponse({**error.to_dict(), "status": "not ready", "parts": report}, status_code=503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus text."""
    return Response(generate_latest(services(request).metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/v1/models", responses=ERRORS)
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
        "endpoints": [settings.text_endpoint, settings.image_endpoint, settings.multimodal_endpoint],
    }
    return JsonResponse({"object": "list", "data": [model]})
