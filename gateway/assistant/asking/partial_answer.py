"""A JSON answer that comes in pieces: first what it cites, then its text as far as it is there."""

from __future__ import annotations

import re

import orjson

from clip_core.errors import AssistantFailed
from gateway.assistant.asking.answer_schema import clean_text

_HEAD = re.compile(r'\s*\{\s*"citations"\s*:\s*(\[[^\]]*\])\s*,\s*"found"\s*:\s*(true|false)\s*,\s*"answer"\s*:\s*"')
_LONGEST = 20_000  # characters of citations, and of a text: what comes after them is not looked at
_WHOLE_STRING = re.compile(r'(?:[^"\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*')


class PartialAnswer:
    """`add` pieces; `head` is what is cited and whether anything was found, once known."""

    def __init__(self) -> None:
        self._text = ""
        self._start: int | None = None
        self._told = 0
        self.head: tuple[list[str], bool] | None = None

    def add(self, piece: str) -> None:
        """Raises AssistantFailed where the citations are no JSON, or without an end."""
        self._text += piece
        if self.head is None and (found := _HEAD.match(self._text)) is not None:
            self._start = found.end()
            try:
                self.head = orjson.loads(found[1]), found[2] == "true"
            except orjson.JSONDecodeError as error:
                raise AssistantFailed("the language model's citations are no list of names") from error
        elif self.head is None and len(self._text) > _LONGEST:
            raise AssistantFailed("the language model's citations do not end")

    def news(self) -> str:
        """What of the text is whole words and was not told yet, cleaned as the whole will be."""
        if self._start is None or len(self._text) > self._start + _LONGEST:
            return ""
        string = _WHOLE_STRING.match(self._text, self._start)
        assert string is not None
        ended = self._text[string.end() : string.end() + 1] == '"'
        try:
            text: str = orjson.loads(f'"{string[0]}"')
        except orjson.JSONDecodeError:  # half of a surrogate pair: the rest is to come
            return ""
        if not ended:
            text = text[: max(text.rfind(" "), 0)]  # the last word may be the beginning of a link
        if not ended and text.count("[") != text.count("]"):
            return ""
        clean = clean_text(text)
        news, self._told = clean[self._told :], max(self._told, len(clean))
        return news
