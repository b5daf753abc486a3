"""Answers without a language model: from captions and metadata, and where they don't say, by a captioner.

Five kinds of questions: how many, which colour, how two things stand, whether there is one, which pictures show it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from clip_core.errors import ClipServeError
from gateway.assistant.offline import candidates
from gateway.assistant.offline.evidence import Evidence
from gateway.assistant.offline.picture_reader import PictureReader
from gateway.assistant.offline.questions import Kind, ParsedQuestion
from gateway.assistant.offline.scenes import OPPOSITE, PictureScene, Thing, Verdict, of_metadata, parse_caption
from gateway.assistant.offline.words import NAMES, plural, with_article

NOT_HERE = "Not in these pictures."
CANT = (
    "Without a language model I answer how many, which colour, left of or above, whether there is one, and which "
    "pictures show it."
)
_MOST_READ = 16  # pictures that a captioner looks at for one question
_log = logging.getLogger("gateway.assistant")


@dataclass(frozen=True)
class Looked:
    """A piece of evidence with what is known of it, and whether it shows what is asked for."""

    evidence: Evidence
    scene: PictureScene
    verdict: Verdict
    caption: str | None = None


@dataclass(frozen=True)
class Answered:
    """`cited` is evidence that shows what `text` says. `found` is False where nothing does."""

    kind: Kind
    text: str
    found: bool
    cited: tuple[Looked, ...] = ()


class OfflineAnswers:
    """Where no captioner is served, captions and metadata are all there is."""

    def __init__(self, reader: PictureReader | None) -> None:
        self._given = reader

    async def reader(self) -> PictureReader | None:
        """The captioner, if one is served now."""
        return self._given if self._given is not None and await self._given.ready() else None

    async def look(self, question: ParsedQuestion, evidence: Sequence[Evidence]) -> list[Looked]:
        """What is known of each, in order. A captioner that fails makes a picture an unknown one."""
        seen = [_looked(question, each, of_metadata(each.metadata)) for each in evidence]
        unread = [place for place, each in enumerate(seen) if each.verdict == "unknown" and each.evidence.picture]
        reader = await self.reader() if unread else None
        if reader is None:
            return seen
        read = await asyncio.gather(*(self._read(reader, question, seen[place]) for place in unread[:_MOST_READ]))
        for place, each in zip(unread, read, strict=False):
            seen[place] = each
        return seen

    async def answer(self, question: ParsedQuestion, seen: Sequence[Looked]) -> Answered:
        """From what `look` found. Raises ClipServeError where the captioner fails now."""
        if question.kind == "count":
            return await self._count(question, seen)
        if question.kind == "color":
            return await self._color(question, seen)
        if question.kind == "relative":
            return _relative(question, seen)
        if question.kind == "relation":
            return _relation(question, seen)
        if question.kind in ("exists", "which"):
            return _shown(question, seen)
        return _described(seen)

    async def _read(self, reader: PictureReader, question: ParsedQuestion, looked: Looked) -> Looked:
        """By a caption of our own, else by scores."""
        picture = looked.evidence.picture
        if picture is None:
            return looked
        try:
            caption = await reader.caption(picture)
            found = _looked(question, looked.evidence, parse_caption(caption), caption)
            if found.verdict != "unknown" or question.kind == "other":
                return found
            verdict = await self._scored(reader, picture, question)
        except ClipServeError as error:
            _log.warning("a picture was not read for an answer: %s", error.message)
            return looked
        return Looked(found.evidence, found.scene, verdict, caption)

    async def _scored(self, reader: PictureReader, picture: bytes, question: ParsedQuestion) -> Verdict:
        related = question.related
        if question.kind == "relative" or question.background is not None:
            return "unknown"
        if related is None:
            return await candidates.is_there(reader, picture, question.thing)
        return await candidates.stands_so(reader, picture, related) if related.relation in OPPOSITE else "unknown"

    async def _count(self, question: ParsedQuestion, seen: Sequence[Looked]) -> Answered:
        showing = [each for each in seen if each.verdict == "yes"]
        numbers = await asyncio.gather(*(self._number(question, each) for each in showing))
        total = sum(numbers)
        if not total:
            return _nothing(question)
        named = question.thing.text()
        text = f"{_number(total)} {named if total == 1 else plural(named)}{_where(showing, seen)}."
        return Answered("count", text, True, tuple(showing))

    async def _number(self, question: ParsedQuestion, looked: Looked) -> int:
        """How many of the thing a picture shows."""
        if question.related is not None:
            return 1
        counts = [thing.count for thing in looked.scene.matching(question.thing)]
        if counts and None not in counts:
            return sum(count or 0 for count in counts)
        picture = looked.evidence.picture
        reader = await self.reader() if picture else None
        if reader is None or picture is None:
            return max(1, len(counts))
        return await candidates.number_of(reader, picture, question.thing)

    async def _color(self, question: ParsedQuestion, seen: Sequence[Looked]) -> Answered:
        showing = [each for each in seen if each.verdict == "yes"]
        colors = await asyncio.gather(*(self._color_of(question.thing, each) for each in showing))
        known = [(each, color) for each, color in zip(showing, colors, strict=True) if color is not None]
        if not known:
            return _nothing(question)
        names = list(dict.fromkeys(color for _, color in known))
        text = f"The {question.thing.text()} is {_listed(names)}."
        return Answered("color", text, True, tuple(each for each, _ in known))

    async def _color_of(self, thing: Thing, looked: Looked) -> str | None:
        colors = [color for each in looked.scene.matching(thing) if (color := each.of_class(0)) is not None]
        picture = looked.evidence.picture
        if colors or picture is None:
            return colors[0] if colors else None
        reader = await self.reader()
        return None if reader is None else await candidates.color_of(reader, picture, thing)


def _looked(
    question: ParsedQuestion, evidence: Evidence, scene: PictureScene | None, caption: str | None = None
) -> Looked:
    if scene is None:
        return Looked(evidence, PictureScene(()), "unknown", caption)
    verdict = _relative_verdict(question, scene) if question.kind == "relative" else question.verdict(scene)
    if question.kind == "relation" and question.related is not None and verdict == "no":
        both = scene.shows(question.related.first), scene.shows(question.related.second)
        verdict = "no" if both == ("yes", "yes") or "no" in both else "unknown"
    return Looked(evidence, scene, verdict, caption or evidence.metadata.get("caption"))


def _relative_verdict(question: ParsedQuestion, scene: PictureScene) -> Verdict:
    if _beside(question, scene) is not None:
        return "yes"
    return "no" if scene.related is not None or scene.shows(question.thing) == "no" else "unknown"


def _beside(question: ParsedQuestion, scene: PictureScene) -> Thing | None:
    """The thing that stands so to the one of the question."""
    given = scene.related
    if given is None:
        return None
    if given.relation == question.relation and given.second.fits(question.thing) == "yes":
        return given.first
    if OPPOSITE.get(given.relation) == question.relation and given.first.fits(question.thing) == "yes":
        return given.second
    return None


def _relative(question: ParsedQuestion, seen: Sequence[Looked]) -> Answered:
    showing = [(each, thing) for each in seen if (thing := _beside(question, each.scene)) is not None]
    if not showing:
        return _nothing(question)
    names = list(dict.fromkeys(with_article(thing.text()) for _, thing in showing))
    verb = "is" if len(names) == 1 else "are"
    text = f"{_listed(names).capitalize()} {verb} {question.relation} the {question.thing.text()}."
    return Answered("relative", text, True, tuple(each for each, _ in showing))


def _relation(question: ParsedQuestion, seen: Sequence[Looked]) -> Answered:
    """Also where they stand the other way: a `no` that a picture shows."""
    asked = question.related
    assert asked is not None
    for verdict, said, name in (
        ("yes", "Yes", asked.relation),
        ("no", "No", f"not {asked.relation}"),
    ):
        showing = tuple(each for each in seen if each.verdict == verdict and _shows_both(question, each))
        if showing:
            text = f"{said}: the {asked.first.text()} is {name} the {asked.second.text()}."
            return Answered("relation", text, True, showing)
    return _nothing(question)


def _shows_both(question: ParsedQuestion, looked: Looked) -> bool:
    asked = question.related
    assert asked is not None
    if not looked.scene.things:
        return looked.verdict == "yes"
    return "no" not in (looked.scene.shows(asked.first), looked.scene.shows(asked.second))


def _shown(question: ParsedQuestion, seen: Sequence[Looked]) -> Answered:
    showing = tuple(each for each in seen if each.verdict == "yes")
    if not showing:
        return _nothing(question)
    start = "Yes" if question.kind == "exists" else question.words.capitalize()
    return Answered(question.kind, f"{start}{_where(showing, seen)}.", True, showing)


def _described(seen: Sequence[Looked]) -> Answered:
    """Of a question of no known kind: what the pictures show."""
    told = tuple(each for each in seen if each.caption)[:3]
    if not told:
        return Answered("other", CANT, False)
    captions = ", ".join(f"“{str(each.caption)[:200]}”" for each in told)
    return Answered("other", f"{CANT} The nearest pictures show {captions}.", True, told)


def _nothing(question: ParsedQuestion) -> Answered:
    return Answered(question.kind, f"No: {NOT_HERE.lower()}" if question.kind == "exists" else NOT_HERE, False)


def _where(showing: Sequence[Looked], seen: Sequence[Looked]) -> str:
    if len(seen) == 1:
        return ""
    return f", in {len(showing)} of {len(seen)} pictures"


def _number(number: int) -> str:
    return NAMES.get(number, str(number)).capitalize()


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
