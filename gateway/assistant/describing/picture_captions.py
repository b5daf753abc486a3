"""One picture → its caption by the language model, asked for once, and what so many would cost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from clip_core.errors import AssistantFailed
from gateway.assistant.asking.answer_schema import clean_text
from gateway.assistant.asking.prompt_templates import prompt_template
from gateway.assistant.asking.suspicious import reads_like_an_order
from gateway.assistant.describing.kept_captions import KeptCaptions
from gateway.assistant.provider.completion_cache import prompt_digest
from gateway.assistant.provider.language_model import LanguageModel
from gateway.assistant.provider.prompt import Completion, Prompt, ShownPicture
from gateway.assistant.provider.shown_pictures import shown_picture

Json = dict[str, Any]
_TOKENS = 120
_LONGEST = 300
_SCHEMA = {
    "type": "object",
    "properties": {"caption": {"type": "string"}},
    "required": ["caption"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class ModelCaption:
    """`by` names the model. `cost_usd` is None where no price is known, and 0 for one that was kept."""

    text: str
    by: str
    cost_usd: float | None


class PictureCaptions:
    """`at_once`: pictures under way; others wait."""

    def __init__(self, model: LanguageModel, kept: KeptCaptions, *, at_once: int, max_pixels: int) -> None:
        self.name, self._model, self._kept = model.name, model, kept
        self._max_pixels = max_pixels
        self._turns = asyncio.Semaphore(at_once)
        self._alone: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def caption(self, picture: bytes) -> ModelCaption:
        """Of encoded bytes. Raises BadImage, and what LanguageModel raises."""
        prompt = await asyncio.to_thread(self._prompt, picture)
        digest = prompt_digest(self.name, prompt)
        async with self._alone.setdefault(digest, asyncio.Lock()):  # the same picture twice is asked about once
            kept = await self._kept.get(digest)
            if kept is not None:
                return ModelCaption(*kept, 0.0)
            async with self._turns:
                completion = await self._model.complete(prompt)
            made = ModelCaption(_checked(completion), completion.model or self.name, completion.cost_usd)
            await self._kept.put(digest, made.text, made.by)
            return made

    def expected(self, number: int) -> Json:
        """Of so many captions, at most."""
        side = self._model.estimates.rule.side("low")
        prompt = _prompt(ShownPicture("", side, side, "low"))
        cost = self._model.expected_usd(prompt)
        return {
            "items": number,
            "prompt_tokens": number * self._model.estimates.of(prompt).input,
            "cost_usd": None if cost is None else number * cost,
            "prices_as_of": self._model.prices_as_of,
        }

    def _prompt(self, picture: bytes) -> Prompt:
        side = self._model.estimates.rule.side("low")
        return _prompt(shown_picture(picture, side, "low", self._max_pixels))


def _prompt(picture: ShownPicture) -> Prompt:
    template = prompt_template("caption.1")
    return Prompt(template.system, (template.question.template, picture), template.version, _SCHEMA, _TOKENS)


def _checked(completion: Completion) -> str:
    """Raises AssistantFailed for what is no caption."""
    data = completion.data or {}
    text = clean_text(data["caption"])[:_LONGEST] if isinstance(data.get("caption"), str) else ""
    if set(data) != {"caption"} or not text:
        raise _failed("the language model gave no caption", completion)
    if reads_like_an_order(text):
        raise _failed("the language model's caption reads like an order", completion)
    return text


def _failed(message: str, completion: Completion) -> AssistantFailed:
    """With what it cost: it was billed."""
    failed = AssistantFailed(message)
    failed.use, failed.cost_usd = completion.use, completion.cost_usd or 0.0
    return failed
