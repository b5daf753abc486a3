"""Answers without a language model: from captions, from metadata, and by scores of a captioner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from clip_core.errors import Overloaded
from gateway.assistant.offline.evidence import Evidence, refs_of
from gateway.assistant.offline.offline_answers import Answered, OfflineAnswers
from gateway.assistant.offline.questions import parse_question
from gateway.assistant.offline.scenes import of_metadata, parse_caption, parse_thing
from gateway.assistant.offline.words import base, plural, words

CAPTIONS = (
    "a small red plain circle left of a blue dotted star on a white background",
    "two large red striped circles on a gray background",
    "a large green plain heart on a black background",
    "three small blue dotted stars on a white background",
)
SHELF = tuple(Evidence(f"p{n}", f"s{n}", metadata={"caption": text}) for n, text in enumerate(CAPTIONS))


@dataclass
class Reader:
    """A captioner that sees what `sees` says of each picture, and finds a text likely by the words that it shares."""

    sees: dict[bytes, str]
    says: dict[bytes, str] = field(default_factory=dict)
    is_ready: bool = True
    fails: bool = False

    async def ready(self) -> bool:
        return self.is_ready

    async def caption(self, picture: bytes, prompt: str = "") -> str:
        if self.fails:
            raise Overloaded("busy")
        return self.says.get(picture, prompt + self.sees[picture])

    async def stream(self, picture: bytes, prompt: str = "") -> AsyncIterator[str]:
        yield await self.caption(picture, prompt)

    async def scores(self, picture: bytes, texts: Sequence[str]) -> list[float]:
        seen = self.sees[picture]
        return [float(text in seen) + len({*words(text)} & {*words(seen)}) / 10 for text in texts]


async def answered(question: str, evidence: Sequence[Evidence], reader: Any = None) -> Answered:
    offline, parsed = OfflineAnswers(reader), parse_question(question)
    return await offline.answer(parsed, await offline.look(parsed, evidence))


@pytest.mark.parametrize(
    ("question", "text", "cited"),
    [
        ("How many red circles are there, and where?", "Three red circles, in 2 of 4 pictures.", "01"),
        ("how many stars are in these pictures?", "Four stars, in 2 of 4 pictures.", "03"),
        ("how many circles are red?", "Three red circles, in 2 of 4 pictures.", "01"),
        ("how many dotted stars are there in total?", "Four dotted stars, in 2 of 4 pictures.", "03"),
        ("how many stars are there on a gray background?", "Not in these pictures.", ""),
        ("how many circles are left of a star?", "One circle, in 1 of 4 pictures.", "0"),
        ("how many of these pictures show a star?", "A star, in 2 of 4 pictures.", "03"),
        ("How many moons?", "Not in these pictures.", ""),
        ("What colour is the heart?", "The heart is green.", "2"),
        ("what color are the stars?", "The star is blue.", "03"),
        ("what is the colour of the background?", "The background is white, gray and black.", "0123"),
        ("Is the red circle left of the blue star?", "Yes: the red circle is left of the blue star.", "0"),
        ("Is the red circle to the right of the star?", "No: the red circle is not right of the star.", "0"),
        ("is the red heart above the star?", "Not in these pictures.", ""),
        ("What is left of the blue star?", "A small red plain circle is left of the blue star.", "0"),
        ("what's right of the red circle?", "A blue dotted star is right of the red circle.", "0"),
        ("Is there a green moon?", "No: not in these pictures.", ""),
        ("Are there any green hearts?", "Yes, in 1 of 4 pictures.", "2"),
        ("do any of these pictures show a white circle?", "No: not in these pictures.", ""),
        ("Which of these show stars?", "Stars, in 2 of 4 pictures.", "03"),
        ("which pictures have two red circles?", "Two red circles, in 1 of 4 pictures.", "1"),
        ("which shows a star on a white background", "A star on a white background, in 2 of 4 pictures.", "03"),
        ("which image shows a red circle left of a star", "A red circle left of a star, in 1 of 4 pictures.", "0"),
    ],
)
async def test_the_five_kinds_from_captions(question, text, cited) -> None:
    found = await answered(question, SHELF)
    assert (found.text, "".join(each.evidence.id[1:] for each in found.cited)) == (text, cited)
    assert found.found is bool(cited)


@pytest.mark.parametrize(
    "question",
    ["What is art?", "", "how many red circles and blue stars?", "is there a circle without a star?", "x" * 1900,
     "is there no star?", "which pictures show no red circle?", "how many circles are not red?",
     "how many circles aren’t red?", "how many non-red circles are there?", "how many are there?", "what colour is it?",
     "how many red circles are there and how many stars?", "how many pictures are there?"],
)  # fmt: skip
async def test_other_questions_get_what_the_pictures_show(question) -> None:
    found = await answered(question, SHELF)
    assert (found.kind, len(found.cited)) == ("other", 3)
    assert "Without a language model" in found.text
    assert not (await answered(question, [Evidence("p", "s")])).found


def test_captions_and_metadata_say_the_same() -> None:
    facts = {"shape": "circle", "color": "red", "texture": "plain", "background": "white", "count": 1, "size": "small"}
    told = of_metadata(facts | {"digest": "0af9", "unseen": False, "objects": 1})
    assert told == parse_caption("a small red plain circle on a white background")
    other = {"shape": "star", "color": "blue", "texture": "dotted"}
    told = of_metadata({"shape": "ring", "color": "pink", "texture": "plain", "relation": "above", "other": other})
    assert told is not None
    assert told.related is not None
    assert told.related.relation == "above"
    assert told.shows(parse_thing("a pink star")) == "no", "each thing has its own colour"
    assert of_metadata({"digest": "x", "count": 3}) is None


@pytest.mark.parametrize(
    ("plural_", "singular"),
    [("circles", "circle"), ("crosses", "cross"), ("cross", "cross"), ("women", "woman"), ("boxes", "box"),
     ("cities", "city"), ("glass", "glass"), ("bus", "bus"), ("Greys".lower(), "grey")],
)  # fmt: skip
def test_words(plural_, singular) -> None:
    assert base(plural_) in (singular, "gray")
    assert plural("red cross") == "red crosses"


async def test_a_captioner_reads_what_has_no_words() -> None:
    reader = Reader({b"1": "a large red plain circle", b"2": "a small blue star"})
    shelf = [Evidence("p1", "s1", picture=b"1"), Evidence("p2", "s2", picture=b"2"), Evidence("p3", "s3")]
    found = await answered("which of these shows a red circle?", shelf, reader)
    assert [each.evidence.id for each in found.cited] == ["s1"]
    assert found.cited[0].caption == "a large red plain circle"
    assert not (await answered("is there a green heart?", shelf, reader)).found
    reader.is_ready = False
    assert not (await answered("which of these shows a red circle?", shelf, reader)).found


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("what colour is the circle?", "The circle is red."),
        ("how many red circles are there?", "Two red circles."),
        ("is there a red circle?", "Yes."),
        ("is there a blue circle?", "No: not in these pictures."),
    ],
)
async def test_where_its_caption_leaves_something_out_candidates_are_scored(question, text) -> None:
    reader = Reader({b"1": "two red circles"}, says={b"1": "circles"})
    shelf = [Evidence("p1", "s1", picture=b"1")]
    if "there a" in question:
        reader.sees[b"1"] = "a red circle"
    assert (await answered(question, shelf, reader)).text == text


async def test_a_relation_is_scored_against_its_opposite() -> None:
    reader = Reader({b"1": "a red circle above a blue star"}, says={b"1": "a circle and a star"})
    shelf = [Evidence("p1", "s1", picture=b"1")]
    assert (await answered("is there a red circle above a blue star?", shelf, reader)).found
    assert not (await answered("is there a red circle below a blue star?", shelf, reader)).found


async def test_a_captioner_that_fails_makes_pictures_unknown() -> None:
    reader = Reader({b"1": "a red circle"}, fails=True)
    found = await answered("is there a red circle?", [Evidence("p1", "s1", picture=b"1"), *SHELF], reader)
    assert [each.evidence.id for each in found.cited] == ["s0", "s1"]


def test_names_of_evidence_are_the_same_for_the_same_question_and_nobody_elses() -> None:
    ids = [("demo", f"s{n}") for n in range(48)]
    names = refs_of(b"secret", "q", ids)
    assert names == refs_of(b"secret", "q", ids)
    assert len(set(names)) == 48
    assert set(names).isdisjoint(refs_of(b"other", "q", ids)) or names != refs_of(b"other", "q", ids)


def test_a_question_about_a_neighbour_searches_for_two_things() -> None:
    assert parse_question("What is above the red ring?").words == "something above the red ring"


@pytest.mark.parametrize("caption", ["no red circles", "zero red circles on white", "without a red circle"])
async def test_a_caption_that_says_what_is_not_there(caption) -> None:
    found = await answered("How many red circles are there?", [Evidence("p", "s", metadata={"caption": caption})])
    assert (found.text, found.cited) == ("Not in these pictures.", ())
