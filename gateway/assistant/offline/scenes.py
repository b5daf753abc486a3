"""What a caption or an item's metadata says is in a picture: things with their words, and how two of them stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway.assistant.offline.words import ARTICLES, CLASSES, NUMBERS, base, words

Verdict = Literal["yes", "no", "unknown"]
OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
_SAME = {"under": "below", "underneath": "below", "beneath": "below", "over": "above", "on top of": "above"}
RELATION = r"(?:to the )?(left of|right of)|(above|below|under|underneath|beneath|over|on top of|in front of|behind)"
_RELATION = re.compile(rf"\b(?:(?:is|are|lies|stands) )?(?:{RELATION})\b")
_BACKGROUND = re.compile(r"\b(?:on|against|with) (?:an? |the )?(\w+) background\b")
_START = re.compile(
    r"^(?:an? )?(?:photo|picture|image|drawing)s?(?: of| showing| with)?\b|^there (?:is|are)\b|^this is\b"
)
_AND = re.compile(r"\s*(?:,|;|\band\b|\bwith\b|\bnext to\b|\bbeside\b|\bnear\b)\s*")
BACKGROUND = "background"
_NEGATIONS = frozenset(("not", "without", "never", "neither", "nor", "except"))
_LONGEST, _SHORT = 2000, 40
_NO_THINGS = ("caption", "digest", "file", "relation", "unseen", "objects", "path", "url", "image_url", "id")


@dataclass(frozen=True)
class Thing:
    """`words`: noun and adjectives in base form. `count` is None where nobody says it."""

    words: frozenset[str]
    count: int | None = None

    def fits(self, wanted: Thing) -> Verdict:
        """Whether this is what is wanted. `no` where a word of the same class stands in its place."""
        if self.count == 0 or (BACKGROUND in self.words and BACKGROUND not in wanted.words):
            return "no"
        if _NEGATIONS & self.words:
            return "unknown"
        if wanted.several() and self.count is not None and self.count != wanted.count:
            return "no"
        if wanted.words <= self.words:
            return "yes"
        for missing in wanted.words - self.words:
            if any(missing in each and self.words & each for each in CLASSES):
                return "no"
        return "unknown"

    def several(self) -> bool:
        """Whether a number was named; `a circle` may be one of many."""
        return self.count is not None and self.count > 1

    def of_class(self, place: int) -> str | None:
        """Its word of `CLASSES[place]`: its colour, and so on."""
        return next(iter(self.words & CLASSES[place]), None)

    def text(self) -> str:
        """As a phrase: what it is comes last."""
        order = [*CLASSES[2], *CLASSES[0], *CLASSES[3]]
        ranked = sorted(self.words, key=lambda word: (word in CLASSES[1], word not in order, word))
        first = [word for word in ranked if word in order]
        return " ".join([*sorted(first, key=order.index), *(word for word in ranked if word not in order)])


@dataclass(frozen=True)
class Related:
    """`first` stands `relation` `second`."""

    first: Thing
    relation: str
    second: Thing


@dataclass(frozen=True)
class PictureScene:
    """Things in a picture, the background among them. `background` is its colour."""

    things: tuple[Thing, ...]
    related: Related | None = None
    background: str | None = None

    def shows(self, wanted: Thing) -> Verdict:
        """`no` only where each thing is known to be something else."""
        verdicts = {thing.fits(wanted) for thing in self.things}
        if "yes" in verdicts:
            return "yes"
        return "no" if verdicts == {"no"} else "unknown"

    def matching(self, wanted: Thing) -> list[Thing]:
        return [thing for thing in self.things if thing.fits(wanted) == "yes"]

    def holds(self, wanted: Related) -> Verdict:
        """Whether the two stand so."""
        if self.related is None:
            both = {self.shows(wanted.first), self.shows(wanted.second)}
            return "no" if "no" in both else "unknown"
        given = self.related
        for first, relation, second in (
            (given.first, given.relation, given.second),
            (given.second, OPPOSITE.get(given.relation, ""), given.first),
        ):
            if first.fits(wanted.first) == second.fits(wanted.second) == "yes":
                return "yes" if relation == wanted.relation else "no"
        both = {self.shows(wanted.first), self.shows(wanted.second)}
        return "no" if "no" in both else "unknown"


def parse_thing(phrase: str) -> Thing:
    """`two large red circles` → large, red, circle; two of them."""
    count, kept = None, set[str]()
    for word in words(phrase):
        if word in NUMBERS and count is None:
            count = NUMBERS[word]
        elif word.isdigit() and len(word) < 4 and count is None:
            count = int(word)
        elif word in ARTICLES:
            count = 1 if word in ("a", "an") and count is None else count
        else:
            kept.add(word)
    return Thing(frozenset(kept), count)


def parse_relation(text: str) -> Related | None:
    """`a red circle left of a blue star`."""
    found = _RELATION.search(text.lower())
    if found is None:
        return None
    name = next(group for group in found.groups() if group)
    first, second = parse_thing(text[: found.start()]), parse_thing(text[found.end() :])
    if not first.words or not second.words:
        return None
    return Related(first, _SAME.get(name, name), second)


def without_background(text: str) -> tuple[str, str | None]:
    """`a star on a white background` → `a star`, white."""
    found = _BACKGROUND.search(text.lower())
    if found is None:
        return text, None
    return " ".join((text[: found.start()] + text[found.end() :]).split()), base(found.group(1))


def parse_caption(caption: str) -> PictureScene:
    """The things that it names; commas, `and` and relations part them."""
    text, background = without_background(caption[:_LONGEST].lower().strip())
    text = _START.sub("", text).strip()
    related = parse_relation(text)
    if related is not None:
        return PictureScene((related.first, related.second, *_behind(background)), related, background)
    things = tuple(thing for part in _AND.split(text) if (thing := parse_thing(part)).words)
    return PictureScene((*things, *_behind(background)), None, background)


def _behind(color: str | None) -> list[Thing]:
    return [] if color is None else [Thing(frozenset((BACKGROUND, color)))]


def of_metadata(metadata: Mapping[str, Any]) -> PictureScene | None:
    """By its caption, else by its short values, each object a thing. None where it says nothing."""
    caption = metadata.get("caption")
    if isinstance(caption, str) and caption.strip():
        return parse_caption(caption)
    things = tuple(_things(metadata))
    if not things:
        return None
    relation, behind = metadata.get("relation"), metadata.get(BACKGROUND)
    background = base(behind.lower()) if isinstance(behind, str) and len(behind) <= _SHORT else None
    related = Related(things[0], relation, things[1]) if isinstance(relation, str) and len(things) == 2 else None
    return PictureScene((*things, *_behind(background)), related, background)


def _things(metadata: Mapping[str, Any]) -> Iterator[Thing]:
    own = {word for name, value in metadata.items() if name != BACKGROUND for word in _short(name, value)}
    count = metadata.get("count")
    if own:
        yield Thing(frozenset(own), count if isinstance(count, int) and not isinstance(count, bool) else None)
    for value in metadata.values():
        if isinstance(value, dict):
            yield from _things(value)


def _short(name: str, value: object) -> list[str]:
    if name in _NO_THINGS or not isinstance(value, str) or len(value) > _SHORT:
        return []
    return words(value)
