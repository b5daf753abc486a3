"""A question that names its answers: `Is it red, blue or green?`, or a list of options with letters."""

from __future__ import annotations

import re

_OPTION = re.compile(r"(?:^|\n|(?<=\s))\(?([A-Ha-h1-8])[).:]\s+(.+?)(?=\s+\(?[A-Ha-h1-8][).:]\s|\n|$)")
_RUN = re.compile(r"[\w ,-]*")
_NAME = re.compile(r"[\w -]+")
_BEFORE = re.compile(r"\b(?:is|are|it|this|these|either|shows?|between|colou?r)\b", re.I)
_LEADING = re.compile(r"^(?:(?:is|are|it|this|that|these|a|an|the|either|there|picture|image|photo|showing)\s+)+", re.I)
_MOST, _LONGEST = 16, 1000  # options, and characters: a longer text is no question that names its answers


def options_of(text: str) -> list[tuple[str, str]]:
    """Each as (what to answer, what it says); nothing where it names less than two."""
    if len(text) > _LONGEST:
        return []
    lettered = [(letter, said.strip(" .?")) for letter, said in _OPTION.findall(text)]
    if 2 <= len(lettered) <= _MOST and len({letter for letter, _ in lettered}) == len(lettered):
        return lettered
    bare = [_LEADING.sub("", name.strip()).strip() for name in _named(" ".join(text.split()).rstrip("? "))]
    return [(name, name) for name in bare] if 2 <= len(bare) <= _MOST and all(bare) else []


def _named(text: str) -> list[str]:
    """`is it red, blue or green` → `is it red`, `blue`, `green`: what stands before the last `or`, and after it."""
    place = text.lower().rfind(" or ")
    head, last = text[: max(place, 0)].rstrip(" ,"), text[place + 4 :]
    if place < 0 or not _NAME.fullmatch(last):
        return []
    run = _run_at_end(head)
    before = head[: len(head) - len(run)]
    if before and before[-1] != ":":
        found = _BEFORE.search(run)
        run = run[found.end() :] if found else ""
    return [*run.split(","), last] if run.strip() else []


def _run_at_end(text: str) -> str:
    found = _RUN.match(text[::-1])
    return found[0][::-1] if found else ""
