"""POST /v1/multimodalembeddings: Voyage's dialect (https://docs.voyageai.com/reference/multimodal-embeddings-api)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from clip_core.errors import InvalidRequest
from gateway.encode.embedding import Embedded, Options, check_number, choice, embed
from gateway.errors import JsonResponse
from gateway.inputs.chat_content import inputs_source
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.routes.bodies import Body, read_inputs
from gateway.routes.embeddings import openai_answer
from gateway.routes.plain_route import PlainRoute
from gateway.schemas.dialects import VoyageAnswer, VoyageRequest
from gateway.schemas.openapi import ENCODES, answers, takes
from gateway.services import services

router = APIRouter(route_class=PlainRoute, tags=["embeddings"])


@router.post("/v1/multimodalembeddings", responses=answers(VoyageAnswer, *ENCODES), openapi_extra=takes(VoyageRequest))
async def embed_voyage(request: Request) -> JsonResponse:
    """Voyage's dialect: each input is a sequence of texts and images that becomes one vector."""
    given = services(request)
    body = await read_inputs(request, given.parser)
    sources = _sources(body, given.parser, given.settings.max_embedding_inputs)
    kind = _format(body)
    truncate = "error" if body.get("truncation") is False else "end"
    options = Options(body.get("model"), body.get("output_dimension"), truncate, "output_dimension")
    encoder = await given.models.named(options.model)
    return JsonResponse(await _answer(await embed(encoder, sources, options), kind))


def _format(body: Body) -> str:
    """By the documented name, or by the one that the package voyageai sends."""
    name = "encoding_format" if "encoding_format" in body else "output_encoding"
    choice(body.get("output_dtype"), "output_dtype", ("float",), "float")
    return choice(body.get(name), name, ("base64",), "float")


def _sources(body: Body, parser: InputParser, most: int) -> list[Source]:
    inputs = body.get("inputs")
    if not isinstance(inputs, list):
        raise InvalidRequest("`inputs` is a list of objects with `content`", param="inputs")
    check_number(inputs, most, "inputs")
    return [inputs_source(entry, f"inputs[{place}]", parser) for place, entry in enumerate(inputs)]


async def _answer(embedded: Embedded, kind: str) -> dict[str, Any]:
    """Images cost by their number here, not by their pixels, which are therefore not counted."""
    usage = {"text_tokens": embedded.tokens, "image_pixels": 0, "video_pixels": 0, "total_tokens": embedded.tokens}
    return {**await openai_answer(embedded, kind), "usage": usage}
