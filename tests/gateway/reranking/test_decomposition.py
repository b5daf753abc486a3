"""What a language model says of a query: as the rules would read it, and nothing of what is none."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gateway.reranking.query.decomposition import decomposed_query, decomposition_schema
from gateway.reranking.query.parse import parse_query
from gateway.reranking.tree.growing import grow

NOTHING = {"size": None, "color": None, "texture": None, "not_color": None, "absent": False}
CIRCLE = {**NOTHING, "noun": "circle", "count": 1, "color": "red"}
SQUARES = {**NOTHING, "noun": "square", "count": 2, "texture": "striped", "size": "small"}
STAR = {**NOTHING, "noun": "star", "count": 1, "absent": True}
TOLD: dict[str, Any] = {
    "things": [CIRCLE, SQUARES, STAR],
    "relations": [{"first": 0, "name": "left of", "second": 1}],
    "background": "white",
}


def changed(**more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(TOLD), **more}


def test_it_is_the_same_as_by_rules() -> None:
    text = "a red circle left of two small striped squares, but no star, on a white background"
    by_rules, by_model = parse_query(text), decomposed_query(TOLD)
    assert by_rules is not None
    assert by_model is not None
    assert [node.texts for node in grow(by_model).nodes] == [node.texts for node in grow(by_rules).nodes]


@pytest.mark.parametrize(
    "relation",
    [
        {"first": 0, "name": "left of", "second": 2},
        {"first": 0, "name": "left of", "second": 0},
        {"first": 0, "name": "left of", "second": 3},
        {"first": -1, "name": "left of", "second": 1},
        {"first": 0, "name": "inside of", "second": 1},
    ],
    ids=["absent", "itself", "unknown", "negative", "no relation"],
)
def test_relations_that_can_not_be_count_for_nothing(relation: dict[str, Any]) -> None:
    found = decomposed_query(changed(relations=[*TOLD["relations"], relation]))
    assert found is not None
    assert len(found.readings[0]) == 1


def test_words_that_are_not_ours_are_left_out() -> None:
    thing = {**CIRCLE, "color": "turquoise", "texture": "left of", "not_color": "red"}
    found = decomposed_query(changed(things=[thing], relations=[], background="starry"))
    assert found is not None
    assert (found.things[0].attributes, found.things[0].excluded) == ((), (("color", "red"),))
    assert found.setting is None


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        changed(things=[]),
        changed(things=[STAR]),
        changed(things=[CIRCLE] * 6),
        changed(things=[{**CIRCLE, "noun": ""}]),
        changed(things=[{**CIRCLE, "noun": "Kreis <b>"}]),
        changed(things=[{**CIRCLE, "noun": "circle that is left of the very red square"}]),
        changed(things=[{**CIRCLE, "count": 0}]),
        changed(things=[{**CIRCLE, "count": "two"}]),
        changed(things=[{**CIRCLE, "color": ["red"]}]),
        changed(relations=None),
        changed(relations=TOLD["relations"] * 9),
    ],
)
def test_what_is_no_query(told: object) -> None:
    assert decomposed_query(told) is None


def test_the_schema_is_strict() -> None:
    schema = decomposition_schema()
    assert set(schema["required"]) == set(TOLD)
    thing = schema["properties"]["things"]["items"]
    assert set(thing["required"]) == set(CIRCLE)
    assert thing["additionalProperties"] is False
    assert thing["properties"]["color"]["enum"][-1] is None
