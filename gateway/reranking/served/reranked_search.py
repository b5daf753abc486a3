"""A search with `rerank`: enough hits for the candidates, their better order, and the caller's page of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_core.errors import InvalidRequest
from clip_core.wire import MAX_K, parse_k
from gateway.inputs.parser import InputParser
from gateway.reranking.served.hits import candidates_of, told_hits, with_metadata
from gateway.reranking.served.reranker import Reranker
from gateway.reranking.wanted import parse_rerank
from gateway.search.searching import Found, Searcher, parse_ask

Json = dict[str, Any]
_DEFAULT_K = 10


async def reranked_search(
    body: Mapping[str, Any], parser: InputParser, searcher: Searcher, reranker: Reranker
) -> tuple[Json, Found]:
    """The answer with `rerank`. Raises BadInput about the search or its `rerank`, and what a search raises."""
    wanted = parse_rerank(body["rerank"])
    if body.get("collections") is not None:
        raise InvalidRequest("`rerank` is of one collection: give `collection`", param="rerank")
    if body.get("cursor") is not None:
        raise InvalidRequest("`rerank` is of the first page: ask for a larger `k`", param="cursor")
    k = parse_k(body.get("k", _DEFAULT_K))
    plain = {name: value for name, value in with_metadata(body).items() if name != "rerank"}
    ask = parse_ask({**plain, "k": min(MAX_K, max(k, wanted.candidates))}, parser)
    if ask.source.kind != "text":
        raise InvalidRequest("`rerank` compares pictures with a `text`: give one to search by", param="rerank")
    answer, found = await searcher.one(ask)
    hits = candidates_of(answer["hits"])
    assert ask.search is not None
    order, told = await reranker.rerank(wanted, ask.source.value, answer["model"], ask.search.collection, hits)
    page = told_hits([hits[place] for place in order[:k]], body.get("include"))
    return {**answer, "hits": page, "next_cursor": None, "rerank": told}, found
