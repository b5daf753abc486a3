"""An answer by a language model: planned, asked, judged while it comes, and passed on word by word once it stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from clip_core.errors import AssistantFailed
from gateway.assistant.asking.answer_schema import checked_answer, checked_head
from gateway.assistant.asking.judging import AnswerJudge, Ruling
from gateway.assistant.asking.partial_answer import PartialAnswer
from gateway.assistant.asking.prompt_templates import prompt_template
from gateway.assistant.asking.prompting import PromptPlan, plan_prompt, render_prompt
from gateway.assistant.offline.evidence import Evidence
from gateway.assistant.offline.offline_answers import NOT_HERE, Answered, Looked
from gateway.assistant.provider.language_model import LanguageModel
from gateway.assistant.provider.prompt import Completion, Detail


@dataclass(frozen=True)
class ModelOptions:
    """Tokens of a prompt and of an answer, and whether the model sees pictures."""

    prompt_tokens: int = 6000
    answer_tokens: int = 500
    vision: bool = True
    max_pixels: int = 64_000_000


@dataclass(frozen=True)
class ModelSaid:
    """The end of an answer. `overruled`: the model was overruled, and this is what is known without it."""

    text: str
    found: bool
    cited: tuple[Looked, ...]
    overruled: bool
    completion: Completion
    plan: PromptPlan
    verified: frozenset[str]


class ModelAnswers:
    """Answers questions from evidence by one language model."""

    def __init__(self, model: LanguageModel, options: ModelOptions) -> None:
        self.model, self.options = model, options
        self.template = prompt_template()

    async def plan(self, question: str, evidence: Sequence[Evidence], detail: Detail | None) -> PromptPlan:
        return await asyncio.to_thread(
            plan_prompt,
            question,
            evidence,
            self.template,
            self.model.estimates,
            most_tokens=self.options.prompt_tokens,
            max_pixels=self.options.max_pixels,
            vision=self.options.vision,
            detail=detail,
        )

    async def answer(
        self, question: str, plan: PromptPlan, seen: Sequence[Looked], known: Answered, *, streamed: bool
    ) -> AsyncGenerator[str | ModelSaid, None]:
        """Pieces of text that may be shown at once, last the whole. Raises as LanguageModel does.

        Raises AssistantFailed for an answer that is not what the schema says.
        """
        prompt = render_prompt(question, plan, self.template, self.options.answer_tokens)
        telling = _Telling([each.ref for each in plan.evidence], AnswerJudge(seen, known))
        async with aclosing(self.model.stream(prompt, streamed=streamed)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    said = telling.end(piece, plan, known)
                    if rest := telling.rest(said.text):
                        yield rest
                    yield said
                    return
                if news := telling.add(piece):
                    yield news
        raise AssistantFailed("the language model gave no answer")


class _Telling:
    """What of an answer that comes in pieces was told so far."""

    def __init__(self, refs: Sequence[str], judge: AnswerJudge) -> None:
        self._refs, self._judge = refs, judge
        self._partial = PartialAnswer()
        self._ruling: Ruling | None = None
        self._told = ""

    def add(self, piece: str) -> str:
        """What may be told now: nothing before the citations are known and stand."""
        self._partial.add(piece)
        head = self._partial.head
        if head is None:
            return ""
        if self._ruling is None:
            self._ruling = self._judge.rule(*checked_head(head[0], head[1], self._refs))
        if not self._ruling.stands or not head[1]:
            return ""
        news = self._partial.news()
        self._told += news
        return news

    def end(self, completion: Completion, plan: PromptPlan, known: Answered) -> ModelSaid:
        answer = checked_answer(completion.data or {}, self._refs)
        ruling = self._judge.rule(answer.citations, answer.found)
        verified = frozenset(self._judge.verified)
        if not ruling.stands:
            return ModelSaid(known.text, known.found, ruling.cited, True, completion, plan, verified)
        text = answer.answer if answer.found else NOT_HERE
        return ModelSaid(text, answer.found, ruling.cited, False, completion, plan, verified)

    def rest(self, text: str) -> str:
        """What of the whole was not told yet."""
        return text[len(self._told) :] if text.startswith(self._told) else ""
