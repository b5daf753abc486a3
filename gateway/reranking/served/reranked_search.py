"""A search with `rerank`: enough hits for the candidates, their better order, and the caller's page of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_core.errors import InvalidRequest
from clip_core.wire import MAX_K, parse_k
from gateway.encode.chunks import Ask
from gateway.inputs.parser import InputParser
from gateway.reranking.served.hits import candidates_of, told_hits, with_metadata
from gateway.reranking.served.reranker import Reranker
from gateway.reranking.wanted import Wanted, parse_rerank
from gateway.search.searching import Found, Searcher, parse_ask

Json = dict[str, Any]
_DEFAULT_K = 10


async def reranked_search(
    body: Mapping[str, Any], parser: InputParser, searcher: Searcher, reranker: Reranker
) -> tuple[Json, Found]:
    """The answer with `rerank`; without it, pages behind the candidates, whose order is the search's.

    Raises BadInput about the search or its `rerank`, and what a search raises.
    """
    wanted = parse_rerank(body["rerank"])
    if body.get("collections") is not None:
        raise InvalidRequest("`rerank` is of one collection: give `collection`", param="rerank")
    k = parse_k(body.get("k", _DEFAULT_K))
    plain = {name: value for name, value in body.items() if name != "rerank"}
    if body.get("cursor") is not None:
        return await searcher.one(_behind(parse_ask(plain, parser), wanted))
    ask = parse_ask({**with_metadata(plain), "k": min(MAX_K, max(k, wanted.reached()))}, parser)
    _check(ask)
    answer, found = await searcher.one(ask)
    hits = candidates_of(answer["hits"])
    assert ask.search is not None
    order, told = await reranker.rerank(wanted, ask.source.value, answer["model"], ask.search.collection, hits)
    page = told_hits([hits[place] for place in order[:k]], body.get("include"))
    cursor = answer["next_cursor"] if k >= wanted.reached() else None
    return {**answer, "hits": page, "next_cursor": cursor, "rerank": told}, found


def _check(ask: Ask) -> None:
    """Raises InvalidRequest for a search by anything but a text."""
    if ask.source.kind != "text":
        raise InvalidRequest("`rerank` compares pictures with a `text`: give one to search by", param="rerank")


def _behind(ask: Ask, wanted: Wanted) -> Ask:
    """Raises InvalidRequest for a page that holds candidates: with a budget, two pages may come of two orders."""
    _check(ask)
    if ask.page is None or ask.page.offset < wanted.reached():
        raise InvalidRequest(
            "`rerank` is of the first page, which holds all candidates: ask for a larger `k`", param="cursor"
        )
    return ask
