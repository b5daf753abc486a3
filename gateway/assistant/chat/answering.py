"""A conversation about pictures, answered by a captioner: a caption, a caption that begins as asked, or by scoring."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from gateway.assistant.chat.choices import options_of
from gateway.assistant.chat.conversation import Conversation
from gateway.assistant.offline import candidates
from gateway.assistant.offline.evidence import Evidence
from gateway.assistant.offline.offline_answers import OfflineAnswers
from gateway.assistant.offline.picture_reader import PictureReader
from gateway.assistant.offline.questions import ParsedQuestion, parse_question
from gateway.assistant.offline.scenes import Thing, parse_caption, parse_thing
from gateway.assistant.offline.words import with_article

_COMPLETE = re.compile(
    r"^(?:complete|continue|finish)(?: the| this)?(?: sentence| caption| text)?\s*:?\s+[\"'“]?(.+?)[\"'”.…]*$", re.I
)
_THIS = re.compile(
    r"^(?:is|does|are|do) (?:this|it|that|these|the (?:picture|image|photo))\b(?: (?:picture|image|photo))?"
    r"(?: (?:show|contain|of|have|depict)s?)?\s+(.+)$",
    re.I,
)
_LONGEST = 1000  # characters: what is longer asks for nothing of these kinds, and takes long to match


class PictureChat:
    """Of one conversation. Its pictures are encoded bytes. Its methods raise ClipServeError."""

    def __init__(self, reader: PictureReader, conversation: Conversation, pictures: Sequence[bytes]) -> None:
        self._reader, self._asked, self._pictures = reader, conversation, pictures
        self._offline = OfflineAnswers(reader)
        self._parsed = parse_question(conversation.text)
        self._text = _spaced(conversation.text) if len(conversation.text) <= _LONGEST else ""

    async def pieces(self) -> AsyncIterator[str]:
        """The answer as it comes."""
        said = await self._answer()
        if said is not None:
            for place, word in enumerate(said.split(" ")):
                yield f" {word}" if place else word
            return
        for place, picture in enumerate(self._pictures):
            if place:
                yield "\n"
            if not self._asked.stream:
                yield await self._reader.caption(picture, self._prefix())
                continue
            async for piece in self._reader.stream(picture, self._prefix()):
                yield piece

    async def text(self) -> str:
        """The whole answer."""
        return "".join([piece async for piece in self.pieces()]).strip()

    async def choose(self, values: Sequence[str], thing: Thing | None = None) -> int:
        """The place of the value that the first picture shows likeliest."""
        noun = thing.text() if thing is not None and thing.words else ""
        return await candidates.best_of(self._reader, self._pictures[0], _phrases(values, noun))

    async def number(self, thing: Thing) -> int:
        """How many of the thing there are, over all pictures; of anything where none is named."""
        if not thing.words:
            scene = parse_caption(await self._reader.caption(self._pictures[0]))
            return sum(each.count or 1 for each in scene.things if "background" not in each.words)
        counts = [await candidates.number_of(self._reader, picture, thing) for picture in self._pictures]
        return sum(counts)

    async def says_yes(self, name: str) -> bool:
        """Whether the answer to the question is yes; without such a question, whether the picture shows `name`."""
        if self._parsed.kind in ("exists", "relation"):
            said = await self._of_kind(self._parsed)
            return said.startswith("Yes")
        words = re.sub(r"^(?:is|has|shows|contains)_?", "", name).replace("_", " ")
        return await self._shows(parse_thing(words))

    async def _answer(self) -> str | None:
        """None for a caption."""
        options = options_of(self._asked.text)
        if options:
            return options[await self.choose([said for _, said in options])][0]
        if self._parsed.kind != "other":
            return await self._of_kind(self._parsed)
        this = _THIS.match(self._text.rstrip("?. "))
        if this is not None:
            return "Yes" if await self._shows(parse_thing(this[1])) else "No"
        return None

    async def _of_kind(self, parsed: ParsedQuestion) -> str:
        evidence = [Evidence(f"p{n}", str(n), picture=picture) for n, picture in enumerate(self._pictures)]
        answered = await self._offline.answer(parsed, await self._offline.look(parsed, evidence))
        if answered.found and parsed.kind == "which" and len(evidence) > 1:
            return ", ".join(str(int(each.evidence.id) + 1) for each in answered.cited)
        return answered.text.replace("these pictures", "this picture") if len(evidence) == 1 else answered.text

    async def _shows(self, thing: Thing) -> bool:
        """By the caption, else by scores."""
        for picture in self._pictures:
            verdict = parse_caption(await self._reader.caption(picture)).shows(thing)
            if verdict == "unknown":
                verdict = await candidates.is_there(self._reader, picture, thing)
            if verdict == "yes":
                return True
        return False

    def _prefix(self) -> str:
        """How the caption is to begin."""
        found = _COMPLETE.match(self._text)
        begun = self._asked.prefix or (found[1] if found else "")
        return f"{begun.strip()} " if begun.strip() else ""


def _spaced(text: str) -> str:
    """Its lines, with single spaces: runs of them take long to match, too."""
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def any_json(text: str) -> str:
    return orjson.dumps({"answer": text}).decode()


def written_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _phrases(values: Sequence[str], noun: str) -> list[str]:
    """As a caption would say them: of one form, so that their likelihoods compare."""
    if noun:
        return [with_article(value if noun in value else f"{value} {noun}") for value in values]
    return [value if " " in value else with_article(value) for value in values]
