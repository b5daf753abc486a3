"""A query → what it says, by rules: the demo's language and plain English noun phrases.

"a red striped circle left of a blue square and below a star, but no moon, on a white background"
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.reranking.query.parsed_query import NounPhrase, ParsedQuery, Relation, singular
from gateway.reranking.query.vocabulary import ARTICLES, BETWEEN, KIND_OF, MEANING, NUMBERS, PRONOUNS

MOST_WORDS, MOST_CHARACTERS, MOST_THINGS, _MOST_READINGS = 40, 1000, 5, 4
_START = re.compile(
    r"^(?:(?:show me|find|search for|there is|there are|an?|the) )*"
    r"(?:photos?|pictures?|images?|drawings?)(?: of| showing| with)? |^(?:there (?:is|are)|show me|find) "
)
_SETTING = re.compile(r"[, ]*\b(?:on|with|against|in front of) (?:an? |the )?(\w+) background\b")
_BARE_SETTING = re.compile(r" on (white|black|gray|grey|beige)$")
_NOT = re.compile(r"(?:,? ?\b(?:that|which) (?:is|are) not|,? \bbut not|\bnon-|\bnot) ?(?:an? )?(\w+)")
_LINKS = re.compile(r"\b(?:that|which) (?:is|are)\b|\b(?:is|are)\b")
_PLAIN = re.compile(r"[a-z0-9 ,;'-]+")  # without "~", which marks what is excluded
_ANY_NUMBER = frozenset({"the", "some", "any"})
_DIGITS = 4  # of a number
_LONGEST = 8 * MOST_CHARACTERS  # with all its spaces
_Item = tuple[str, str]  # ("thing" | "relation" | "and" | "or" | "not", words)


def parse_query(text: str) -> ParsedQuery | None:
    """None for what the rules don't understand: no English, too long, alternatives ("or"), pronouns."""
    if len(text) > _LONGEST:
        return None
    told = " ".join(text.lower().replace(",", " , ").replace(";", " ; ").split()).rstrip(".!? ,;")
    if not told or len(told) > MOST_CHARACTERS or len(told.split()) > MOST_WORDS or not _PLAIN.fullmatch(told):
        return None
    told = _NOT.sub(_excluding, _START.sub("", told, count=1))
    told, setting = _without_setting(told)
    items = _items(_LINKS.sub(" ", told))
    return None if items is None else _built(items, setting)


def _excluding(found: re.Match[str]) -> str:
    """ "that is not red" → "~red", a word of the noun phrase before or around it."""
    return f" ~{found[1]}" if found[1] in KIND_OF else found[0]


def _without_setting(told: str) -> tuple[str, str | None]:
    found = _SETTING.search(told) or _BARE_SETTING.search(told)
    if found is None or found[1] not in KIND_OF:
        return told, None
    return told[: found.start()] + told[found.end() :], found[1]


def _items(told: str) -> list[_Item] | None:
    items: list[_Item] = []
    for place, part in enumerate(BETWEEN.split(told)):
        words = " ".join(part.split())
        if place % 2:
            items.append((MEANING[words][0], MEANING[words][1]))
        elif words:
            items.append(("thing", words))
    return items if items and items[-1][0] == "thing" else None


def _built(items: Sequence[_Item], setting: str | None) -> ParsedQuery | None:
    things: list[NounPhrase] = []
    absent: set[int] = set()
    readings: list[tuple[Relation, ...]] = [()]
    before: list[_Item] = []  # between the last thing and the next
    for kind, words in items:
        if kind != "thing":
            before.append((kind, words))
            continue
        thing = _thing(words)
        if thing is None or len(things) == MOST_THINGS:
            return None
        link = _link(before, bool(things))
        if link is None:
            return None
        place, (how, name, joined) = len(things), link
        things.append(thing)
        if how == "not" or (how == "or" and place - 1 in absent):
            absent.add(place)
        elif how == "or":
            return None
        elif how == "relation":
            readings = _related(readings, name, place, absent, joined=joined)
        before = []
    if absent == set(range(len(things))):
        return None
    return ParsedQuery(tuple(things), tuple(readings[:_MOST_READINGS]), frozenset(absent), setting)


def _link(before: Sequence[_Item], begun: bool) -> tuple[str, str, bool] | None:
    """What joins a thing to those before it: its kind, the relation, and whether an "and" stands before that."""
    kinds = [kind for kind, _ in before]
    if not begun:
        return ("and", "", False) if not kinds else None
    if kinds.count("relation") == 1 and "not" not in kinds and "or" not in kinds and kinds[-1] == "relation":
        return "relation", before[-1][1], len(kinds) > 1
    if kinds and set(kinds) <= {"and", "not"}:
        return ("not" if "not" in kinds else "and"), "", False
    return ("or", "", False) if kinds == ["or"] else None


def _related(
    readings: list[tuple[Relation, ...]], name: str, place: int, absent: set[int], *, joined: bool
) -> list[tuple[Relation, ...]]:
    """Every reading, with each thing that may be meant as the first of the relation, the likelier first.

    "A left of B and below C": A or B is below C. "A left of B below C": B or A. "A and B left of C": B, or both.
    """
    others = [other for other in range(place) if other not in absent]
    if not others:
        return readings
    found, ways = [], list[tuple[int, ...]]()
    for reading in readings:
        last = others[-1]
        first = next((each.first for each in reversed(reading) if each.second == last), None)
        if first is not None:
            ways = [(first,), (last,)] if joined else [(last,), (first,)]
        elif len(others) > 1 and not any(each.first in others for each in reading):
            ways = [(last,), tuple(others)]
        else:
            ways = [(last,)]
        found += [(*reading, *(Relation(each, name, place) for each in way)) for way in ways]
    return sorted(found, key=lambda reading: found.index(reading) % 2) if len(found) > 2 else found


def _thing(words: str) -> NounPhrase | None:
    rest = words.split()
    article, count = False, None
    while rest and (rest[0] in ARTICLES or rest[0] in NUMBERS or rest[0].isdigit()):
        word = rest.pop(0)
        article = article or word in ARTICLES
        if word not in _ANY_NUMBER:
            count = _counted(word)
    excluded = tuple((KIND_OF[word[1:]], word[1:]) for word in rest if word.startswith("~"))
    known = [word for word in rest if word in KIND_OF]
    nouns = [word for word in rest if word not in KIND_OF and not word.startswith("~")]
    if not nouns or PRONOUNS.intersection(nouns) or count == 0:
        return None
    several = singular(nouns[-1]) != nouns[-1] and count != 1
    nouns[-1] = singular(nouns[-1]) if several else nouns[-1]
    attributes = {KIND_OF[word]: word for word in known}
    if len(attributes) < len(known):  # "a red blue thing" is no thing that can be taken apart
        return None
    if count is None and not several:
        count = 1
    return NounPhrase(" ".join(nouns), count, tuple(attributes.items()), excluded, article or count != 1)


def _counted(word: str) -> int:
    """1 of an article, 0 of a number that is too long to be one of things."""
    if not word.isdigit():
        return NUMBERS.get(word, 1)
    return int(word) if len(word) <= _DIGITS else 0
