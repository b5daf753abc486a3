"""POST /v2/embed: Cohere's dialect (https://docs.cohere.com/reference/embed)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from clip_core.errors import InvalidRequest
from gateway.encode.embedding import FORMATS, Embedded, Options, check_number, choice, embed, written
from gateway.errors import JsonResponse
from gateway.inputs.chat_content import inputs_source
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.routes.bodies import Body, read_inputs
from gateway.routes.plain_route import PlainRoute
from gateway.schemas.dialects import CohereAnswer, CohereRequest
from gateway.schemas.openapi import ENCODES, answers, takes
from gateway.services import services
from gateway.trace import current_trace

router = APIRouter(route_class=PlainRoute, tags=["embeddings"])
_LISTS = ("texts", "images", "inputs")
_TRUNCATE = {"NONE": "error", "END": "end"}


@router.post("/v2/embed", responses=answers(CohereAnswer, *ENCODES), openapi_extra=takes(CohereRequest))
async def embed_cohere(request: Request) -> JsonResponse:
    """Cohere's dialect: `texts`, `images` or `inputs` of mixed content; one bad input fails the call and is named."""
    given = services(request)
    body = await read_inputs(request, given.parser)
    sources = _sources(body, given.parser, given.settings.max_embedding_inputs)
    kinds = _kinds(body.get("embedding_types"))
    truncate = _TRUNCATE[choice(body.get("truncate"), "truncate", tuple(_TRUNCATE), "END")]
    options = Options(body.get("model"), body.get("output_dimension"), truncate, "output_dimension")
    encoder = await given.models.named(options.model)
    return JsonResponse(await _answer(await embed(encoder, sources, options), kinds, body))


def _sources(body: Body, parser: InputParser, most: int) -> list[Source]:
    given = [name for name in _LISTS if body.get(name) is not None]
    if len(given) != 1:
        raise InvalidRequest("give exactly one of `texts`, `images` and `inputs`", param=given[-1] if given else None)
    name, values = given[0], body[given[0]]
    if not isinstance(values, list):
        raise InvalidRequest(f"`{name}` is a list", param=name)
    check_number(values, most, name)
    return [_source(name, value, f"{name}[{place}]", parser) for place, value in enumerate(values)]


def _source(name: str, value: object, param: str, parser: InputParser) -> Source:
    if name == "inputs":
        return inputs_source(value, param, parser)
    return parser.of_kind("text" if name == "texts" else "image", value, param)


def _kinds(value: object) -> list[str]:
    """int8 and uint8 need a calibration of Cohere's own models, so they are refused."""
    if value is None:
        return ["float"]
    if not isinstance(value, list) or not value:
        raise InvalidRequest(f"`embedding_types` lists some of {', '.join(FORMATS)}", param="embedding_types")
    kinds = [choice(kind, f"embedding_types[{place}]", FORMATS, "float") for place, kind in enumerate(value)]
    return list(dict.fromkeys(kinds))


async def _answer(embedded: Embedded, kinds: list[str], body: Body) -> dict[str, Any]:
    return {
        "id": current_trace().request_id,
        "embeddings": {kind: await written(embedded.vectors, kind) for kind in kinds},
        "texts": body.get("texts") or [],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": embedded.tokens}},
        "response_type": "embeddings_by_type",
    }
