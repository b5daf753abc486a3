"""Queries that the rules don't understand, or not surely, taken apart by a language model."""

from __future__ import annotations

import orjson

from gateway.assistant.asking.prompt_templates import prompt_template
from gateway.assistant.provider.language_model import LanguageModel
from gateway.assistant.provider.prompt import Prompt
from gateway.reranking.budget import Budget
from gateway.reranking.query.decomposition import decomposed_query, decomposition_schema
from gateway.reranking.query.parse import MOST_CHARACTERS
from gateway.reranking.query.parsed_query import ParsedQuery

_ANSWER_TOKENS = 600


class ModelParser:
    """The model's answers are kept as all its answers are: a query that comes again costs nothing."""

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._template = model, prompt_template("parse.1")

    def fits(self, text: str, budget: Budget) -> bool:
        """Whether the budget's tokens reach for it."""
        left, expected = budget.tokens_left(), self._model.estimates.of(self._prompt(text))
        return left is None or expected.input + expected.output <= left

    async def parse(self, text: str, budget: Budget) -> ParsedQuery | None:
        """None for what can't be taken apart.

        Raises as LanguageModel does, and TimeoutError where the budget's time is over.
        """
        if len(text) > MOST_CHARACTERS or not any(map(str.isalpha, text)):
            return None
        said = await budget.within(self._model.complete(self._prompt(text)))
        budget.used_tokens += said.use.input + said.use.output
        return decomposed_query(said.data)

    def _prompt(self, text: str) -> Prompt:
        question = self._template.question.substitute(question=orjson.dumps(text).decode())
        return Prompt(
            self._template.system, (question,), self._template.version, decomposition_schema(), _ANSWER_TOKENS
        )
