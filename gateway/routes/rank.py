"""POST /v1/rank: texts against images, images against texts, or any mix, without a collection."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from clip_core.errors import InvalidRequest
from gateway.encode.chunks import Ask
from gateway.encode.embedding import check_number, floats
from gateway.encode.served_model import check_model
from gateway.encode.similarity import Head, ranking
from gateway.errors import JsonResponse
from gateway.inputs.parser import InputParser
from gateway.inputs.source import Source
from gateway.routes.bodies import checked, read_body
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.openapi import ENCODES, answers, takes
from gateway.schemas.ranking import RankAnswer, RankRequest
from gateway.search.searching import Found
from gateway.services import services

router = APIRouter(route_class=StrictRoute, tags=["classify"])


@router.post("/v1/rank", responses=answers(RankAnswer, *ENCODES), openapi_extra=takes(RankRequest))
async def rank(request: Request) -> JsonResponse:
    """Order the candidates for each query by cosine; one bad query or candidate fails the call and is named."""
    given = services(request)
    wanted = checked(RankRequest, await read_body(request, given.parser))
    most = given.settings.max_inputs
    queries = _sources(wanted.queries, "queries", given.parser, most)
    candidates = _sources(wanted.candidates, "candidates", given.parser, most)
    encoder = await given.models.named(wanted.model)
    encoded = await encoder.run([Ask(source) for source in (*queries, *candidates)])
    served = encoded.model()
    check_model(wanted.model, served)
    vectors = np.stack([floats(entry["embedding"]) for entry in encoded.entries()])
    scores = vectors[: len(queries)] @ vectors[len(queries) :].T
    head = Head.of(served, wanted.logit_scale)
    found = Found([], encoded.encode_ms, queue_ms=encoded.queue_ms)
    return JsonResponse(
        {
            "results": [
                {"query": place, "ranking": ranking(row, head)[: wanted.top_n]} for place, row in enumerate(scores)
            ],
            "activation": head.activation,
            "model": served.model,
            "fingerprint": served.fingerprint,
            "timing": found.timing(),
        }
    )


def _sources(values: list[Any], name: str, parser: InputParser, most: int) -> list[Source]:
    check_number(values, most, name)
    return [_source(value, f"{name}[{place}]", parser) for place, value in enumerate(values)]


def _source(value: object, param: str, parser: InputParser) -> Source:
    if isinstance(value, str):
        return parser.of_kind("text", value, param)
    if not isinstance(value, dict):
        raise InvalidRequest("give a text, or an object with `text` or `image`", param=param)
    return parser.source(value, param, ("text", "image"))
