"""Queries taken apart by rules: what they say, in each way that they may be meant, and what isn't understood."""

from __future__ import annotations

import pytest

from gateway.reranking.query.parse import MOST_WORDS, parse_query
from gateway.reranking.query.parsed_query import NounPhrase, ParsedQuery, Relation


def said(text: str) -> ParsedQuery:
    parsed = parse_query(text)
    assert parsed is not None, text
    return parsed


def test_the_demos_language() -> None:
    parsed = said("A red striped circle left of a blue plain square on a white background.")
    assert [thing.words() for thing in parsed.things] == ["a red striped circle", "a blue plain square"]
    assert parsed.things[0].attributes == (("color", "red"), ("texture", "striped"))
    assert parsed.readings == ((Relation(0, "left of", 1),),)
    assert parsed.setting == "white"


@pytest.mark.parametrize(
    ("text", "words", "count"),
    [
        ("two large red crosses", "two large red crosses", 2),
        ("there are three small dotted rings", "three small dotted rings", 3),
        ("red circle", "red circle", 1),
        ("an image of an orange star", "an orange star", 1),
        ("dogs", "dogs", None),
        ("the dogs", "dogs", None),
        ("4 boxes", "four boxes", 4),
        ("a photo of a brass lamp", "a brass lamp", 1),
    ],
)
def test_things_and_counts(text: str, words: str, count: int | None) -> None:
    (thing,) = said(text).things
    assert (thing.words(), thing.count) == (words, count)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a cat to the left of a dog", ["left of"]),
        ("a cat is under the table", ["below"]),
        ("a cat on top of a box next to a dog", ["above", "next to"]),
        ("a cat above a dog, behind a box", ["above", "behind"]),
    ],
)
def test_relations_in_other_words(text: str, names: list[str]) -> None:
    assert [each.name for each in said(text).readings[0]] == names


def test_readings_say_who_is_meant() -> None:
    left, near, far = Relation(0, "left of", 1), Relation(1, "below", 2), Relation(0, "below", 2)
    assert said("a cat left of a dog and below a box").readings == ((left, far), (left, near))
    assert said("a cat left of a dog below a box").readings == ((left, near), (left, far))
    both = said("a cat and a dog left of a box").readings
    assert both == ((Relation(1, "left of", 2),), (Relation(0, "left of", 2), Relation(1, "left of", 2)))


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("a red circle without a blue star", {1}),
        ("a brown dog beside a wooden table, without people", {2}),
        ("a circle but no star or moon", {1, 2}),
        ("a circle with no star and no moon", {1, 2}),
        ("a circle and a star", set()),
    ],
)
def test_what_is_not_to_be_there(text: str, absent: set[int]) -> None:
    assert said(text).absent == absent


@pytest.mark.parametrize(
    "text", ["a striped ring that is not red", "a non-red striped ring", "a striped ring but not red"]
)
def test_attributes_that_are_excluded(text: str) -> None:
    (thing,) = said(text).things
    assert thing == NounPhrase("ring", 1, (("texture", "striped"),), (("color", "red"),))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "   ",
            "?",
            "日本の庭",
            "no star",
            "red and blue",
            "it",
            "a cat or a dog",
            "left of a dog",
            "a cat left of",
        ),
        *("a ~red circle", "~", "12345 dogs"),
        *("a red blue thing", "0 dogs", " ".join(["a dog and"] * 7) + " a cat", "word " * (MOST_WORDS + 1)),
    ],
)
def test_what_is_not_understood(text: str) -> None:
    assert parse_query(text) is None


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("two birthday party hats left of a box", False),
        ("a man riding a horse", True),
        ("a box behind ein roter Kreis links von zwei Quadraten", True),
    ],
)
def test_a_long_name_may_be_a_sentence(text: str, doubtful: bool) -> None:
    assert said(text).is_doubtful == doubtful
