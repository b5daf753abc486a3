"""Conversations without a picture, by a language model of one's own machine, such as `clipserve local-llm`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from clip_core.errors import InvalidRequest
from gateway.assistant.chat.conversation import Conversation
from gateway.assistant.provider.openai_provider import OpenAiProvider
from gateway.assistant.provider.prompt import Completion, Prompt
from gateway.assistant.provider.turns_of_keys import TurnsOfKeys
from gateway.keys.api_key import current_key

_VERSION = "chat.1"
_TOKENS = 256  # of an answer, where nobody says
_ANY_JSON = {"type": "object"}


class TextChat:
    """Answers what is asked of the model of this `name`. To be closed."""

    def __init__(self, provider: OpenAiProvider, turns: TurnsOfKeys) -> None:
        self.name = provider.options.model
        self._provider, self._turns = provider, turns

    async def close(self) -> None:
        await self._provider.close()

    async def pieces(self, asked: Conversation) -> AsyncGenerator[str | Completion, None]:
        """Raises InvalidRequest for pictures, Overloaded, and what OpenAiProvider raises."""
        if asked.pictures:
            raise InvalidRequest(f"the model {self.name!r} reads words only: leave the pictures out", param=asked.where)
        async with (
            self._turns.turn(current_key().id, self._provider.options.timeout_s),
            aclosing(self._provider.stream(_prompt(asked), streamed=asked.stream)) as pieces,
        ):
            async for piece in pieces:
                if isinstance(piece, Completion) and not asked.stream:
                    yield piece.text
                yield piece


def _prompt(asked: Conversation) -> Prompt:
    schema = _ANY_JSON if asked.any_json else asked.schema
    prompt = Prompt(asked.system, (asked.transcript,), _VERSION, schema, asked.most_tokens or _TOKENS)
    return replace(prompt, may_be_cut=schema is None)
