"""Closed questions about one picture, by scoring every answer that there may be: the likeliest one wins."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.assistant.offline.picture_reader import PictureReader
from gateway.assistant.offline.scenes import OPPOSITE, Related, Thing, Verdict
from gateway.assistant.offline.words import CLASSES, COLORS, NAMES, plural, with_article

_MOST_COUNTED = 5


async def best_of(reader: PictureReader, picture: bytes, texts: Sequence[str]) -> int:
    """The place of the likeliest. Raises ClipServeError."""
    scores = await reader.scores(picture, texts)
    return max(range(len(texts)), key=scores.__getitem__)


async def is_best(reader: PictureReader, picture: bytes, texts: Sequence[str]) -> Verdict:
    """Whether the first is the likeliest. `unknown` where another one is as likely. Raises ClipServeError."""
    first, *others = await reader.scores(picture, texts)
    best = max(others)
    return "unknown" if first == best else ("yes" if first > best else "no")


async def color_of(reader: PictureReader, picture: bytes, thing: Thing) -> str:
    texts = [with_article(f"{color} {thing.text()}") for color in COLORS]
    return COLORS[await best_of(reader, picture, texts)]


async def number_of(reader: PictureReader, picture: bytes, thing: Thing) -> int:
    phrase = thing.text()
    texts = [with_article(phrase), *(f"{NAMES[n]} {plural(phrase)}" for n in range(2, _MOST_COUNTED))]
    return 1 + await best_of(reader, picture, texts)


async def stands_so(reader: PictureReader, picture: bytes, related: Related) -> Verdict:
    """Against the opposite, and against the two changed about."""
    first, second = with_article(related.first.text()), with_article(related.second.text())
    opposite = OPPOSITE[related.relation]
    texts = [f"{first} {related.relation} {second}", f"{first} {opposite} {second}"]
    return await is_best(reader, picture, texts)


async def is_there(reader: PictureReader, picture: bytes, thing: Thing) -> Verdict:
    """Against the same phrase with another colour, shape and so on. `unknown` where it has no such word."""
    phrase = thing.text()
    texts = [phrase, *(_with(phrase, word, other) for word, other in _others(thing))]
    if len(texts) == 1:
        return "unknown"
    texts = [plural(f"{NAMES[thing.count or 0]} {text}") if thing.several() else with_article(text) for text in texts]
    return await is_best(reader, picture, texts)


def _others(thing: Thing) -> list[tuple[str, str]]:
    """Each word of a class with each that could stand in its place."""
    return [(word, other) for each in CLASSES for word in thing.words & each for other in sorted(each - {word})]


def _with(phrase: str, word: str, other: str) -> str:
    return " ".join(other if each == word else each for each in phrase.split())
