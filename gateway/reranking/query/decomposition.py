"""What a language model says of a query, as JSON → what the query says. Its words are taken as the rules' are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from gateway.reranking.query.parse import MOST_THINGS
from gateway.reranking.query.parsed_query import NounPhrase, ParsedQuery, Relation
from gateway.reranking.query.vocabulary import ATTRIBUTES, RELATIONS

Json = dict[str, Any]
_MOST_RELATIONS, _MOST_COUNT = 8, 99
_Noun = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z'-]*( [a-z][a-z'-]*){0,3}$", max_length=40)]


class _Thing(msgspec.Struct):
    noun: _Noun
    count: Annotated[int, msgspec.Meta(ge=1, le=_MOST_COUNT)] | None
    size: str | None
    color: str | None
    texture: str | None
    not_color: str | None
    absent: bool


class _Related(msgspec.Struct):
    first: int
    name: str
    second: int


class _Decomposed(msgspec.Struct):
    things: Annotated[list[_Thing], msgspec.Meta(min_length=1, max_length=MOST_THINGS)]
    relations: Annotated[list[_Related], msgspec.Meta(max_length=_MOST_RELATIONS)]
    background: str | None


def decomposition_schema() -> Json:
    """A JSON schema in the subset that strict structured output takes."""
    words = {kind: _word(known) for kind, known in ATTRIBUTES.items()}
    thing = _object(
        {
            "noun": {"type": "string"},
            "count": {"type": ["integer", "null"]},
            **words,
            "not_color": words["color"],
            "absent": {"type": "boolean"},
        }
    )
    place = {"type": "integer"}
    related = _object({"first": place, "name": {"type": "string", "enum": list(RELATIONS)}, "second": place})
    return _object({"things": _list(thing), "relations": _list(related), "background": words["color"]})


def decomposed_query(told: object) -> ParsedQuery | None:
    """None for what is none. A relation that is none of ours, or of things that are not there, counts for nothing."""
    try:
        found = msgspec.convert(told, _Decomposed)
    except msgspec.ValidationError:
        return None
    absent = frozenset(place for place, thing in enumerate(found.things) if thing.absent)
    present = set(range(len(found.things))) - absent
    if not present:
        return None
    relations = dict.fromkeys(Relation(each.first, each.name, each.second) for each in found.relations)
    known = [each for each in relations if each.name in RELATIONS and {each.first, each.second} <= present]
    kept = tuple(each for each in known if each.first != each.second)
    return ParsedQuery(tuple(map(_noun_phrase, found.things)), (kept,), absent, _color(found.background))


def _noun_phrase(thing: _Thing) -> NounPhrase:
    said = {"size": thing.size, "color": thing.color, "texture": thing.texture}
    attributes = tuple((kind, word) for kind, word in said.items() if word is not None and word in ATTRIBUTES[kind])
    unwanted = _color(thing.not_color)
    excluded = (("color", unwanted),) if unwanted is not None and unwanted != thing.color else ()
    return NounPhrase(thing.noun, thing.count, attributes, excluded)


def _color(word: str | None) -> str | None:
    """None for what is no colour of ours."""
    return word if word in ATTRIBUTES["color"] else None


def _word(known: Sequence[str]) -> Json:
    return {"type": ["string", "null"], "enum": [*known, None]}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(properties: Mapping[str, Json]) -> Json:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
