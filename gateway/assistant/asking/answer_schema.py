"""What a language model's answer must look like, and the check that it does, whatever the provider promised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clip_core.errors import AssistantFailed
from gateway.assistant.asking.suspicious import plain_text

Json = dict[str, Any]
_FIELDS = ("citations", "found", "answer")  # in the order in which they are to be written: the text comes last
_LINK = re.compile(
    r"!?\[([^\]]*)\]\([^)]*\)|<[^>]*>?|(?:\b[a-z][a-z0-9+.-]*:)?//\S+|\b(?:www\.|mailto:|data:|javascript:)\S+", re.I
)
_HOST = re.compile(
    r"\b(?:[a-z0-9-]{1,63}\.){1,8}(?:com|net|org|io|dev|app|ru|cn|info|biz|xyz|top|site|example|test)\b(?:/\S*)?", re.I
)
_LONGEST = 2000


@dataclass(frozen=True)
class ModelAnswer:
    """`citations` are names of evidence that was given, each once."""

    citations: tuple[str, ...]
    found: bool
    answer: str


def answer_schema(refs: Sequence[str]) -> Json:
    """A JSON schema in the subset that strict structured output takes. Citations are an enum of what was shown."""
    return {
        "type": "object",
        "properties": {
            "citations": {"type": "array", "items": {"type": "string", "enum": list(refs)}},
            "found": {"type": "boolean"},
            "answer": {"type": "string"},
        },
        "required": list(_FIELDS),
        "additionalProperties": False,
    }


def checked_answer(data: Json, refs: Sequence[str]) -> ModelAnswer:
    """Raises AssistantFailed that says what is wrong."""
    if set(data) != set(_FIELDS):
        raise AssistantFailed("the language model answered with other fields than the schema has")
    citations, found = checked_head(data["citations"], data["found"], refs)
    return ModelAnswer(citations, found, _text(data["answer"], found))


def checked_head(citations: Any, found: Any, refs: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """What comes before the text: what is cited, and whether anything was found. Raises AssistantFailed."""
    cited = checked_citations(citations, refs)
    if not isinstance(found, bool):
        raise AssistantFailed("the language model does not say whether it found anything")
    if found and not cited:
        raise AssistantFailed("the language model found something, and cites no picture that shows it")
    return cited, found


def checked_citations(given: Any, refs: Sequence[str]) -> tuple[str, ...]:
    """Raises AssistantFailed for anything but names that were given."""
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise AssistantFailed("the language model's citations are no list of names")
    if not set(given) <= set(refs):
        raise AssistantFailed("the language model cites a picture that it was not given")
    return tuple(dict.fromkeys(given))


def clean_text(text: str) -> str:
    """Plain words: no links, no markup, nothing invisible."""
    plain = _LINK.sub(lambda found: found[1] or "", plain_text(text[: 2 * _LONGEST]))
    return " ".join(_HOST.sub("", plain).split())[:_LONGEST]


def _text(given: Any, found: bool) -> str:
    if not isinstance(given, str):
        raise AssistantFailed("the language model's answer is no text")
    text = clean_text(given)
    if found and not text:
        raise AssistantFailed("the language model's answer has no words")
    return text
