"""Answers by the content of what was asked: texts, pictures, schema, the template's version and the model."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import orjson
from cachetools import TTLCache

from gateway.assistant.provider.prompt import Completion, Prompt, TokenUse

_TTL_S = 24 * 3600.0


def prompt_digest(model: str, prompt: Prompt) -> str:
    """The same for what any model would see as the same."""
    parts = [part if isinstance(part, str) else [part.url, part.detail] for part in prompt.parts]
    whole = [model, prompt.version, prompt.system, parts, prompt.schema, prompt.max_tokens]
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()


class CompletionCache:
    """The newest `size` answers of the last day; 0 keeps none. Only whole answers are put here."""

    def __init__(self, size: int) -> None:
        self._kept: TTLCache[str, Completion] = TTLCache(size, _TTL_S)

    def get(self, digest: str) -> Completion | None:
        """It cost nothing this time."""
        kept = self._kept.get(digest)
        return None if kept is None else replace(kept, from_cache=True, cost_usd=0.0, use=TokenUse())

    def put(self, digest: str, completion: Completion) -> None:
        if self._kept.maxsize:
            self._kept[digest] = completion
