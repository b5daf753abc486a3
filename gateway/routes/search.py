"""POST /v1/search and /v1/search/batch."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from clip_core.errors import BadInput, ClipServeError, CollectionForbidden, InvalidRequest, TooLarge
from gateway.encode.chunks import Ask
from gateway.errors import JsonResponse
from gateway.reranking.served.reranked_search import reranked_search
from gateway.routes.bodies import Body, read_body
from gateway.routes.plain_route import StrictRoute
from gateway.schemas.openapi import ENCODES, answers, takes
from gateway.schemas.search import BatchSearchAnswer, BatchSearchRequest, SearchAnswer, SearchRequest
from gateway.search.across import parse_across
from gateway.search.searching import Found, Outcome, parse_ask
from gateway.services import Services, services

router = APIRouter(route_class=StrictRoute, tags=["search"])
_FORM = {
    "image": "file",
    "text": "string",
    "like": "string",
    "collection": "string",
    "collections": "string",
    "k": "integer",
    "filter": "string",
    "rerank": "string",
}


@router.post("/v1/search", responses=answers(SearchAnswer, *ENCODES), openapi_extra=takes(SearchRequest, form=_FORM))
async def search(request: Request) -> JsonResponse:
    """The items of a collection, or of several, nearest to a text, an image, a vector, or a weighted mix of them."""
    given = services(request)
    body = await read_body(request, given.parser)
    if body.get("rerank") is not None:
        answer, found = await reranked_search(body, given.parser, given.searcher, given.reranker)
    elif body.get("collections") is not None:
        answer, found = await given.across.search(parse_across(body, given.parser))
    else:
        answer, found = await given.searcher.one(parse_ask(body, given.parser))
    return JsonResponse({**answer, "timing": found.timing()})


@router.post(
    "/v1/search/batch", responses=answers(BatchSearchAnswer, *ENCODES), openapi_extra=takes(BatchSearchRequest)
)
async def search_batch(request: Request) -> JsonResponse:
    """Many searches; each has its own status, and a bad one never stops its neighbours."""
    given = services(request)
    body = await read_body(request, given.parser)
    parsed = [_parse(search, place, given) for place, search in enumerate(_searches(body, given))]
    asks = [ask for ask in parsed if isinstance(ask, Ask)]
    found = await given.searcher.many(asks) if asks else Found([])
    answers_ = iter(found.answers)
    outcomes = [next(answers_) if isinstance(entry, Ask) else entry for entry in parsed]
    return JsonResponse({"results": [_result(outcome) for outcome in outcomes], "timing": found.timing()})


def _searches(body: Body, given: Services) -> list[Any]:
    if strange := next((name for name in body if name != "searches"), None):
        raise InvalidRequest(f"a batch has `searches` alone, not `{strange[:80]}`", param=strange[:80])
    searches = body.get("searches")
    if not isinstance(searches, list) or not searches:
        raise InvalidRequest("`searches` is a list of at least one search", param="searches")
    most = given.settings.max_inputs
    if len(searches) > most:
        raise TooLarge(f"{len(searches)} searches in one call; at most {most}", param="searches")
    return searches


def _parse(search: object, place: int, given: Services) -> Ask | ClipServeError:
    try:
        return parse_ask(search, given.parser, f"searches[{place}]")
    except (BadInput, CollectionForbidden) as error:
        return error


def _result(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, ClipServeError):
        return {"status": outcome.status, **outcome.to_dict()}
    return {"status": 200, **outcome}
