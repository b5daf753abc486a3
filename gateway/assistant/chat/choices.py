"""A question that names its answers: `Is it red, blue or green?`, or a list of options with letters."""

from __future__ import annotations

import re

_OPTION = re.compile(r"(?:^|\n|(?<=\s))\(?([A-Ha-h1-8])[).:]\s+(.+?)(?=\s+\(?[A-Ha-h1-8][).:]\s|\n|$)")
_BEFORE = r"(?:^|[,:]|\b(?:is|are|it|this|these|either|shows?|between|colou?r)\b)"
_OR = re.compile(rf"{_BEFORE}\s*((?:[\w -]+,\s*)*[\w -]+?),?\s+or\s+([\w -]+?)\s*\?*$", re.I)
_LEADING = re.compile(r"^(?:(?:is|are|it|this|that|these|a|an|the|either|there|picture|image|photo|showing)\s+)+", re.I)
_MOST = 16


def options_of(text: str) -> list[tuple[str, str]]:
    """Each as (what to answer, what it says); nothing where it names less than two."""
    lettered = [(letter, said.strip(" .?")) for letter, said in _OPTION.findall(text)]
    if 2 <= len(lettered) <= _MOST and len({letter for letter, _ in lettered}) == len(lettered):
        return lettered
    found = _OR.search(text.strip())
    if found is None:
        return []
    names = [*found[1].split(","), found[2]]
    bare = [_LEADING.sub("", name.strip()).strip() for name in names]
    return [(name, name) for name in bare if name] if all(bare) and len(bare) <= _MOST else []
