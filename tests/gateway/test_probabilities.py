"""Probabilities are those of the model's own head, which its handlers tell in every answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.encode.similarity import Head, ranking
from tests.gateway.conftest import Stack
from tests.gateway.fakes import picture_uri

CLASSIFY = {"image": picture_uri("cat"), "labels": ["dog", "cat", "elk"]}
RANK = {"queries": ["cat", "dog"], "candidates": ["dog", "cat", {"image": picture_uri("elk")}]}
SIGLIP = {"logit_scale": 12.5, "logit_bias": -3.0}


def softmax(scores: Any, scale: float) -> Any:
    weights = np.exp(scale * scores)
    return weights / weights.sum()


def sigmoid(scores: Any, scale: float, bias: float) -> Any:
    return 1 / (1 + np.exp(-scale * scores - bias))


def classified(stack: Stack, **more: Any) -> tuple[str, Any, Any]:
    """The activation, the scores and the probabilities."""
    answer = stack.post("/v1/classify", {**CLASSIFY, **more}).json()
    numbers = [[entry[name] for entry in answer["labels"]] for name in ("score", "probability")]
    return answer["activation"], *np.array(numbers)


@pytest.mark.parametrize(("head", "scale"), [({}, 100), ({"logit_scale": 7.0}, 7)])
def test_without_a_bias_it_is_a_softmax(stack: Stack, head: dict[str, float], scale: float) -> None:
    stack.torchserve.head = head
    activation, scores, found = classified(stack)
    assert activation == "softmax"
    np.testing.assert_allclose(found, softmax(scores, scale), rtol=1e-5)


def test_with_a_bias_each_label_has_a_sigmoid(stack: Stack) -> None:
    stack.torchserve.head = SIGLIP
    activation, scores, found = classified(stack)
    assert activation == "sigmoid"
    np.testing.assert_allclose(found, sigmoid(scores, 12.5, -3), rtol=1e-5)
    alone = classified(stack, labels=["cat"])
    assert alone[2][0] == pytest.approx(found[0], rel=1e-6), "other labels change nothing"


def test_the_callers_scale_is_that_of_a_softmax(stack: Stack) -> None:
    stack.torchserve.head = SIGLIP
    activation, scores, found = classified(stack, logit_scale=3)
    assert activation == "softmax"
    np.testing.assert_allclose(found, softmax(scores, 3), rtol=1e-5)


def test_rank_has_the_same_head(stack: Stack) -> None:
    stack.torchserve.head = SIGLIP
    answer = stack.post("/v1/rank", {**RANK, "top_n": 2}).json()
    assert answer["activation"] == "sigmoid"
    for result in answer["results"]:
        scores, found = (np.array([e[name] for e in result["ranking"]]) for name in ("score", "probability"))
        np.testing.assert_allclose(found, sigmoid(scores, 12.5, -3), rtol=1e-5)
    assert stack.post("/v1/rank", {**RANK, "logit_scale": 3}).json()["activation"] == "softmax"


def test_models_tell_their_head(stack: Stack) -> None:
    shown = stack.client.get("/v1/models").json()["data"][0]
    assert (shown["logit_scale"], shown["logit_bias"]) == (None, None)
    stack.torchserve.head = SIGLIP
    shown = stack.client.get("/v1/models").json()["data"][0]
    assert (shown["logit_scale"], shown["logit_bias"]) == (12.5, -3)


def test_the_least_probable_are_in_order() -> None:
    scores = np.array([-1, -0.9, 0, 1], dtype=np.float32)
    for head in (Head(1000), Head(1000, -500.0)):
        found = ranking(scores, head)
        assert [entry["index"] for entry in found] == [3, 2, 1, 0]
        assert all(0 <= entry["probability"] <= 1 for entry in found)
    assert ranking(scores, Head(1000, -500.0))[1]["probability"] == pytest.approx(np.exp(-500.0))
