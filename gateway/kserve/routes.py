"""/v2: the Open Inference Protocol, which KServe and Triton speak, over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from clip_core.errors import NotFound
from gateway.encode.embedding import Options, check_number, embed
from gateway.encode.encoder import Encoder
from gateway.errors import JsonResponse
from gateway.inputs.value_limits import check_values
from gateway.kserve.binary_body import HEADER, input_tensors, split
from gateway.kserve.inference import OUTPUT, VERSION, answered, wants_binary
from gateway.kserve.sources import INPUTS, sources_of
from gateway.readiness import verdict_error
from gateway.routes.bodies import checked, parse_json
from gateway.routes.plain_route import PlainRoute
from gateway.schemas.inference import (
    InferenceAnswer,
    InferenceRequest,
    KserveError,
    LiveAnswer,
    ModelMetadata,
    ModelReadyAnswer,
    ServerMetadata,
    ServerReadyAnswer,
)
from gateway.schemas.openapi import ENCODES, Responses, answers, takes
from gateway.services import Services, services

router = APIRouter(route_class=PlainRoute, tags=["kserve"])
Name = Annotated[str, Path(examples=["demo"], description="The model's name in /v1/models.")]
_VALUES = 256  # of JSON, an input
_MODEL, _VERSIONED = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"


def _said(responses: Responses) -> Responses:
    """With errors as they are worded here."""
    return {status: {**said, "model": KserveError} if status != 200 else said for status, said in responses.items()}


@router.get("/v2/health/live", responses=_said(answers(LiveAnswer)))
async def live() -> JsonResponse:
    """The gateway's process answers."""
    return JsonResponse({"live": True})


@router.get("/v2/health/ready", responses=_said(answers(ServerReadyAnswer)))
async def ready(request: Request) -> JsonResponse:
    """200 when every TorchServe endpoint embeds a canary and the index answers; else 503 naming the part."""
    await _check_ready(services(request))
    return JsonResponse({"ready": True})


@router.get("/v2", responses=_said(answers(ServerMetadata)))
async def server_metadata(request: Request) -> JsonResponse:
    """Name, version and extensions."""
    facts = {"name": "clipserve", "version": request.app.version, "extensions": ["binary_tensor_data"]}
    return JsonResponse(facts)


@router.get(f"{_VERSIONED}/ready", include_in_schema=False)
@router.get(f"{_MODEL}/ready", responses=_said(answers(ModelReadyAnswer, *ENCODES)))
async def model_ready(request: Request, model: Name) -> JsonResponse:
    """200 when the model is served and the gateway is ready."""
    given = services(request)
    await _encoder(request, given, model)
    await _check_ready(given, model)
    return JsonResponse({"name": model, "ready": True})


@router.get(_VERSIONED, include_in_schema=False)
@router.get(_MODEL, responses=_said(answers(ModelMetadata, *ENCODES)))
async def model_metadata(request: Request, model: Name) -> JsonResponse:
    """The tensors that the model takes and gives. TEXT or IMAGE may be left out; both are pairs, of one vector each."""
    given = services(request)
    encoder = await _encoder(request, given, model)
    served = encoder.served or await encoder.describe()
    return JsonResponse(
        {
            "name": model,
            "versions": [VERSION],
            "platform": "torchserve",
            "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in INPUTS],
            "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, served.dim]}],
        }
    )


@router.post(f"{_VERSIONED}/infer", include_in_schema=False)
@router.post(
    f"{_MODEL}/infer", responses=_said(answers(InferenceAnswer, *ENCODES)), openapi_extra=takes(InferenceRequest)
)
async def infer(request: Request, model: Name) -> Response:
    """Vectors of TEXT or IMAGE, as JSON or with binary tensors; one bad element fails the call and is named."""
    given = services(request)
    encoder = await _encoder(request, given, model)
    asked, raw = await _read(request, given.settings.max_embedding_inputs * _VALUES)
    binary = wants_binary(asked)
    sources = sources_of(input_tensors(asked.inputs, raw), given.parser)
    check_number(sources, given.settings.max_embedding_inputs, "inputs")
    parameters = asked.parameters or {}
    truncate = parameters.get("truncate")
    options = Options(model, parameters.get("dimensions"), truncate if truncate in ("end", "error") else None)
    return await answered(await embed(encoder, sources, options), asked, binary)


async def _read(request: Request, most_values: int) -> tuple[InferenceRequest, bytes]:
    """The JSON, and the raw bytes after it. Raises BadInput."""
    content = b"".join([piece async for piece in request.stream()])
    text, raw = split(content, request.headers.get(HEADER))
    check_values(text, most_values)
    return checked(InferenceRequest, parse_json(text)), raw


async def _encoder(request: Request, given: Services, model: str) -> Encoder:
    """That of the model. Raises UnknownModel, or NotFound for a version that there is not."""
    encoder = await given.models.named(model)
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        only = f"its only one is {VERSION!r}"
        raise NotFound(f"the model {model!r} has no version {version[:32]!r}; {only}", param="version")
    return encoder


async def _check_ready(given: Services, model: str | None = None) -> None:
    """Of a model that isn't the default one, its own readiness; else that of the gateway. Raises Unavailable."""
    parts, others = await given.readiness.report()
    error = verdict_error({model: others[model]} if model in others else parts)
    if error is not None:
        raise error
