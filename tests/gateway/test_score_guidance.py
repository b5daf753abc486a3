"""Where the scores of searches for nothing lie."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.search.nonsense import nonsense_texts
from tests.gateway.fakes import embed

GUIDANCE = "/v1/collections/demo/score_guidance"
WORDS = [f"word {n}" for n in range(50)]


def best_scores(words):
    vectors = np.stack([embed(word) for word in words])
    return sorted(float(max(vectors @ embed(text))) for text in nonsense_texts())


def test_the_texts_are_a_hundred_and_stay_the_same():
    assert len(set(nonsense_texts())) == len(nonsense_texts()) == 100
    assert nonsense_texts() == nonsense_texts()


def test_what_texts_without_meaning_reach(stack):
    stack.fill(*WORDS)
    answer = stack.client.get(GUIDANCE).json()
    best = best_scores(WORDS)
    assert answer["suggested_min_score"] == answer["best_scores"]["median"]
    assert answer["best_scores"]["p95"] == pytest.approx(np.quantile(best, 0.95), abs=1e-4)
    assert answer["best_scores"]["highest"] == pytest.approx(best[-1], abs=1e-4)
    assert answer["best_scores"]["median"] == pytest.approx(np.median(best), abs=1e-4)
    assert (answer["texts"], answer["items"], answer["metric"], answer["model"]) == (100, 50, "cosine", "demo")
    found = [stack.post("/v1/search", {"collection": "demo", "text": text, "k": 1}) for text in nonsense_texts()]
    above = [hit for one in found for hit in one.json()["hits"] if hit["score"] >= answer["suggested_min_score"]]
    assert len(above) == 50
    meant = {"collection": "demo", "text": WORDS[3], "min_score": answer["suggested_min_score"]}
    first, *others = [hit["id"] for hit in stack.post("/v1/search", meant | {"k": 50}).json()["hits"]]
    assert first == WORDS[3]
    assert len(others) < 10


def test_it_is_measured_once_until_the_collection_changes(stack):
    stack.fill(*WORDS)
    first = stack.client.get(GUIDANCE).json()
    stack.torchserve.calls.clear()
    stack.index.calls.clear()
    assert stack.client.get(GUIDANCE).json() == first
    assert [path for _, path, _ in stack.index.calls] == ["/collections/demo"]
    items = [{"id": f"more {n}", "text": f"more {n}"} for n in range(20)]
    stack.post("/v1/collections/demo/items", {"items": items})
    stack.torchserve.calls.clear()
    again = stack.client.get(GUIDANCE).json()
    assert (again["items"], stack.torchserve.calls) == (70, [])


def test_a_collection_without_items(stack):
    stack.client.put("/v1/collections/demo", json={})
    answer = stack.client.get(GUIDANCE).json()
    assert (answer["suggested_min_score"], answer["best_scores"], answer["texts"]) == (None, None, 0)


def test_collections_that_cannot_be_measured(stack):
    assert stack.client.get(GUIDANCE).status_code == 404
    stack.fill("cat")
    stack.index.collections["demo"]["spec"]["fingerprint"] = "another"
    answer = stack.client.get(GUIDANCE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "fingerprint_mismatch")


def test_the_oldest_measurements_are_forgotten(stack_of, monkeypatch):
    monkeypatch.setattr("gateway.search.score_guidance._MOST_KEPT", 2)
    stack = stack_of()
    for name in "abc":
        stack.fill("cat", collection=name)

    def measures(name):
        stack.index.calls.clear()
        assert stack.client.get(f"/v1/collections/{name}/score_guidance").status_code == 200
        return any(path == "/search" for _, path, _ in stack.index.calls)

    assert [measures(name) for name in "abcbca"] == [True, True, True, False, False, True]
