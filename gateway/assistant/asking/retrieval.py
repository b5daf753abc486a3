"""A question → the hits to answer it from: one search or several, merged by rank, with vetted metadata."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from clip_core.errors import BadText, ClipServeError, InvalidRequest, TooLarge
from gateway.assistant.asking.suspicious import vetted
from gateway.assistant.offline.evidence import Evidence, Withheld, refs_of
from gateway.assistant.offline.questions import ParsedQuestion
from gateway.inputs.parser import InputParser
from gateway.schemas.asking import AskRequest, AskSearch
from gateway.search.searching import Found, Searcher, parse_ask

Json = dict[str, Any]
MOST_CHARACTERS = 2000
_RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)
_PARTS = re.compile(r"\s*(?:,|;|\band\b|\bor\b)\s*")
_MOST_PARTS = 4


@dataclass(frozen=True)
class Retrieved:
    """`hits` are as a search answers them, the best first; `evidence` is of the same order, and without pictures."""

    hits: list[Json]
    evidence: list[Evidence]
    search_ms: float


class Retrieval:
    """Names of evidence are made with a secret of this process."""

    def __init__(self, searcher: Searcher, parser: InputParser) -> None:
        self._searcher, self._parser = searcher, parser
        self._secret = secrets.token_bytes(16)

    async def run(self, wanted: AskRequest, parsed: ParsedQuestion) -> Retrieved:
        """Raises BadInput about the request, and what a search raises."""
        check_question(wanted.question)
        asks = [parse_ask(body, self._parser) for body in _searches(wanted, parsed)]
        found = await self._searcher.many(asks)
        hits = merged(found, wanted.collection, wanted.k)
        return Retrieved(hits, self._evidence(wanted.question, hits), found.timing()["total_ms"])

    def _evidence(self, question: str, hits: Sequence[Json]) -> list[Evidence]:
        refs = refs_of(self._secret, question, [(hit["collection"], hit["id"]) for hit in hits])
        return [_evidence(ref, hit) for ref, hit in zip(refs, hits, strict=True)]


def check_question(question: str) -> None:
    """Raises BadText or TooLarge."""
    if not question.strip():
        raise BadText("the question is empty", param="question")
    if len(question) > MOST_CHARACTERS:
        raise TooLarge(f"the question is longer than {MOST_CHARACTERS} characters", param="question")


def _evidence(ref: str, hit: Json) -> Evidence:
    kept, names = vetted(hit.get("metadata") or {})
    withheld = tuple(Withheld(hit["id"], name) for name in names)
    whole = hit.get("metadata") or {}
    return Evidence(ref, hit["id"], hit["collection"], hit["score"], kept, None, whole, withheld)


def _searches(wanted: AskRequest, parsed: ParsedQuestion) -> list[Json]:
    common: Json = {"collection": wanted.collection, "k": wanted.k, "model": wanted.model}
    return [{**common, **each} for each in _queries(wanted, parsed)]


def _queries(wanted: AskRequest, parsed: ParsedQuestion) -> list[Json]:
    if wanted.searches is not None:
        if wanted.text is not None or wanted.image is not None:
            raise InvalidRequest("give `searches`, or `text` or `image`", param="searches")
        return [_of_search(each, wanted) for each in wanted.searches]
    own = {"text": wanted.text, "image": wanted.image}
    given = {name: value for name, value in own.items() if value is not None}
    if given:
        return [{name: value, "filter": wanted.filter} for name, value in given.items()]
    return [{"text": text, "filter": wanted.filter} for text in _texts(parsed)]


def _of_search(search: AskSearch, wanted: AskRequest) -> Json:
    body = search.model_dump(exclude_none=True)
    filters = [each for each in (wanted.filter, search.filter) if each is not None]
    return {**body, "filter": {"$and": filters} if len(filters) == 2 else next(iter(filters), None)}


def _texts(parsed: ParsedQuestion) -> list[str]:
    """The question's own words; of several things each by itself, too."""
    if parsed.related is not None or parsed.relation:
        return [parsed.words]
    parts = [part for part in _PARTS.split(parsed.words) if part]
    return [parsed.words] if len(parts) < 2 else [parsed.words, *parts[:_MOST_PARTS]]


def merged(found: Found, collection: str, k: int) -> list[Json]:
    """The best `k` by the sum of 1 / (60 + rank) over the searches, and the first hit of each search in any case.

    Raises the error of the first search that failed.
    """
    ranks: dict[str, float] = {}
    hits: dict[str, Json] = {}
    firsts: list[str] = []
    for answer in found.answers:
        if isinstance(answer, ClipServeError):
            raise answer
        own: list[Json] = orjson.loads(orjson.dumps(answer["hits"]))  # which are JSON already
        firsts += [hit["id"] for hit in own[:1]]
        for rank, found_hit in enumerate(own):
            hit = {"collection": collection, **found_hit}
            hits.setdefault(hit["id"], hit)
            ranks[hit["id"]] = ranks.get(hit["id"], 0.0) + 1 / (_RANK_OFFSET + rank)
    best = sorted(hits, key=lambda name: -ranks[name])
    kept = set(list(dict.fromkeys([*firsts, *best]))[:k])
    return [hits[name] for name in best if name in kept]
