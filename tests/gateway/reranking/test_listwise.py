"""A language model's order: names that were not given count for nothing, and nothing is lost."""

from __future__ import annotations

import pytest

from clip_core.errors import AssistantFailed
from gateway.assistant.provider.prompt import Completion, TokenUse
from gateway.reranking.served.listwise import order_schema, ranking_of

PLACES = {"p1": 0, "p2": 1, "p3": 2}


def completion(order: object) -> Completion:
    return Completion("", TokenUse(90, 10), data={"order": order})


@pytest.mark.parametrize(
    ("said", "order", "invented", "left_out"),
    [
        (["p3", "p1", "p2"], [2, 0, 1, 3], 0, 0),
        (["p3"], [2, 0, 1, 3], 0, 2),
        (["p9", "p2", "p2", "p1", "../p3"], [1, 0, 2, 3], 2, 1),
        (["p2", 7, None, ["p1"]], [1, 0, 2, 3], 3, 2),
    ],
)
def test_orders(said: list[object], order: list[int], invented: int, left_out: int) -> None:
    ranking = ranking_of(completion(said), PLACES, 4)
    assert (ranking.order, ranking.invented, ranking.left_out, ranking.tokens) == (order, invented, left_out, 100)
    assert ranking.named == len(PLACES) - left_out


@pytest.mark.parametrize("said", [None, "p1", {}, [], ["p9"], [1, 2]])
def test_answers_that_order_nothing(said: object) -> None:
    with pytest.raises(AssistantFailed):
        ranking_of(completion(said), PLACES, 4)


def test_the_schema_names_what_was_given() -> None:
    assert order_schema(list(PLACES))["properties"]["order"]["items"]["enum"] == ["p1", "p2", "p3"]
