"""Candidates in the order in which a language model puts them, which sees their pictures and data."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from clip_core.errors import AssistantFailed, UnknownPicture
from gateway.assistant.asking.prompt_templates import PromptTemplate, prompt_template
from gateway.assistant.asking.prompting import PromptPlan, data_of, plan_prompt
from gateway.assistant.asking.suspicious import vetted
from gateway.assistant.offline.evidence import Evidence, refs_of
from gateway.assistant.provider.language_model import LanguageModel
from gateway.assistant.provider.prompt import Completion, Prompt
from gateway.pictures.pictures import Pictures
from gateway.pictures.thumbnails import SIZES
from gateway.reranking.served.hits import Candidate

Json = dict[str, Any]
_TOKENS_EACH, _TOKENS_MORE = 12, 60  # of an answer
_LEAST = 2  # candidates that can be put in order


@dataclass(frozen=True)
class ListwiseOptions:
    """Tokens of a prompt at most, and whether the model sees pictures."""

    prompt_tokens: int
    vision: bool
    max_pixels: int


@dataclass(frozen=True)
class ListwiseRanking:
    """Of the candidates that were shown, the answer names `named` and lacks `left_out`.

    `invented` counts names that were not given.
    """

    order: list[int]
    tokens: int = 0
    named: int = 0
    invented: int = 0
    left_out: int = 0
    without_picture: frozenset[int] = field(default_factory=frozenset)


class Listwise:
    def __init__(self, model: LanguageModel, pictures: Pictures, options: ListwiseOptions) -> None:
        self._model, self._pictures, self._options = model, pictures, options
        self._template, self._secret = prompt_template("rerank.1"), secrets.token_bytes(16)

    async def rank(
        self, text: str, collection: str, candidates: Sequence[Candidate], most_tokens: int | None
    ) -> ListwiseRanking:
        """What does not fit into the prompt follows as it was. Where not even two fit, nothing is asked.

        A model that sees pictures is shown candidates that have one. Raises as LanguageModel does, and AssistantFailed.
        """
        refs = refs_of(self._secret, text, [(collection, each.id) for each in candidates])
        evidence = await asyncio.gather(*map(self._evidence, refs, [collection] * len(refs), candidates))
        sees = self._options.vision
        without = frozenset(place for place, each in enumerate(evidence) if sees and each.picture is None)
        limit = self._options.prompt_tokens if most_tokens is None else min(most_tokens, self._options.prompt_tokens)
        plan = await asyncio.to_thread(
            plan_prompt,
            text,
            [each for place, each in enumerate(evidence) if place not in without],
            self._template,
            self._model.estimates,
            most_tokens=limit,
            max_pixels=self._options.max_pixels,
            vision=self._options.vision,
            detail="low",
        )
        if len(plan.evidence) < _LEAST:
            return ListwiseRanking(list(range(len(candidates))), without_picture=without)
        said = await self._model.complete(listwise_prompt(text, plan, self._template))
        return ranking_of(said, {each.ref: refs.index(each.ref) for each in plan.evidence}, len(candidates), without)

    async def _evidence(self, ref: str, collection: str, candidate: Candidate) -> Evidence:
        picture = None
        if self._options.vision:
            try:
                picture = (await self._pictures.thumbnail(collection, candidate.item, max(SIZES))).content
            except UnknownPicture:
                picture = None
        kept, _ = await asyncio.to_thread(vetted, candidate.metadata)
        return Evidence(ref, candidate.id, collection, candidate.score, kept, picture)


def listwise_prompt(text: str, plan: PromptPlan, template: PromptTemplate) -> Prompt:
    data = "\n".join(map(data_of, plan.evidence))
    parts: list[Any] = [template.question.substitute(question=orjson.dumps(text).decode(), data=data)]
    for ref, picture in plan.pictures.items():
        parts += [template.picture.substitute(ref=ref), picture]
    names = [each.ref for each in plan.evidence]
    tokens = _TOKENS_MORE + _TOKENS_EACH * len(names)
    return Prompt(template.system, tuple(parts), template.version, order_schema(names), tokens)


def order_schema(refs: Sequence[str]) -> Json:
    """A JSON schema in the subset that strict structured output takes."""
    return {
        "type": "object",
        "properties": {"order": {"type": "array", "items": {"type": "string", "enum": list(refs)}}},
        "required": ["order"],
        "additionalProperties": False,
    }


def ranking_of(
    said: Completion, places: Mapping[str, int], number: int, without_picture: frozenset[int] = frozenset()
) -> ListwiseRanking:
    """Names that were not given, and names given twice, count for nothing; what is not named follows as it was.

    Raises AssistantFailed for an answer that is no list, or names none of the candidates.
    """
    given = (said.data or {}).get("order")
    if not isinstance(given, list):
        raise AssistantFailed("the language model's order is no list of names")
    named = list(dict.fromkeys(places[each] for each in given if isinstance(each, str) and each in places))
    if not named:
        raise AssistantFailed("the language model names none of the candidates")
    invented = sum(not isinstance(each, str) or each not in places for each in given)
    rest = [place for place in range(number) if place not in named]
    tokens = said.use.input + said.use.output
    return ListwiseRanking([*named, *rest], tokens, len(named), invented, len(places) - len(named), without_picture)
