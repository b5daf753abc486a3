"""Flattening and splitting, one index call a batch, and the two dialects of answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadInput, ClipServeError, IndexUnavailable, UnknownCollection
from clip_core.index.search_client import Query
from clip_core.inputs.parsing import parse_row
from clip_core.inputs.request import Accepts, Request
from clip_core.serving.answers import Answer, bounded
from clip_core.serving.batch import answer
from clip_core.wire import Neighbours, decode_vector

CERTIFICATE = {"rows_bounded": 3, "rows_verified": 1}
ACCEPTS = Accepts(frozenset({"text", "vector"}), "text")


class FakeIndex:
    """Answers with its queries' collections; `gone` is one that does not exist."""

    def __init__(self) -> None:
        self.calls: list[Sequence[Query]] = []

    def search(self, _fingerprint: str, queries: Sequence[Query]) -> list[Neighbours | ClipServeError]:
        self.calls.append(queries)
        return [
            UnknownCollection("no such collection")
            if query.part.collection == "gone"
            else Neighbours(
                json.dumps([{"id": query.part.collection, "score": 1.0}]).encode(),
                CERTIFICATE if query.part.exact else None,
            )
            for query in queries
        ]


@pytest.fixture(scope="module")
def encoders(model_dirs: dict[str, Path]) -> Encoders:
    return Encoders.load(model_dirs["text"], EndpointConfig())


def request(**body: Any) -> Request:
    return parse_row({"body": json.dumps(body).encode()}, "application/json", ACCEPTS)


def bodies(encoders: Encoders, index: FakeIndex, *requests: Request | ClipServeError) -> list[tuple[int, Any]]:
    return [(a.status, json.loads(a.body)) for a in answer(requests, encoders, index)]


def test_a_batch_of_requests_is_split_again(encoders: Encoders) -> None:
    seen = bodies(
        encoders,
        FakeIndex(),
        request(input=["a", "b", ""]),
        BadInput("unreadable"),
        request(input="b", encoding_format="float"),
        request(input=""),
    )
    assert [status for status, _ in seen] == [200, 400, 200, 400]
    first = seen[0][1]["data"]
    assert [item["status"] for item in first] == [200, 200, 400]
    assert first[2]["error"]["code"] == "invalid_text"
    b = decode_vector(first[1]["embedding"], encoders.spec.dim)
    assert np.allclose(b, seen[2][1]["data"][0]["embedding"], atol=1e-6)
    assert seen[1][1]["status"] == 400
    assert seen[3][1]["error"]["code"] == "invalid_text"


@given(st.lists(st.integers(0, 300), max_size=12), st.integers(0, 1200))
def test_the_largest_answers_go_until_the_rest_fits(sizes: list[int], most: int) -> None:
    answers = [Answer(200, b"x" * size) for size in sizes]
    kept = bounded(answers, most)
    assert [a.status for a, size in zip(kept, sizes, strict=True) if a.status != 200] == [
        413 if size > most else 429 for a, size in zip(kept, sizes, strict=True) if a.status != 200
    ]
    left = [a for a, was in zip(kept, answers, strict=True) if a is was]
    gone = [was for a, was in zip(kept, answers, strict=True) if a is not was]
    assert sum(len(a.body) for a in left) <= most
    assert bool(gone) == (sum(sizes) > most)
    if gone:
        assert max((len(a.body) for a in left), default=0) <= min(len(was.body) for was in gone)
        assert sum(sizes) - sum(len(was.body) for was in gone[:-1]) > most or len(gone) > 1


def test_every_answer_names_the_model_and_its_fingerprint(encoders: Encoders) -> None:
    ((_, body),) = bodies(encoders, FakeIndex(), request(input="a"))
    assert (body["model"], body["fingerprint"], body["dim"]) == ("demo", encoders.spec.fingerprint, 32)


def test_facts_of_the_model_are_told_to_who_asks(encoders: Encoders) -> None:
    [(_, told), (_, usual)] = bodies(encoders, FakeIndex(), request(input=["a"], describe=True), request(input=["a"]))
    assert told["facts"] == {
        "context_length": encoders.spec.context_length,
        "precision": "fp32",
        "licence": None,
        "source": None,
        "revision": None,
        "weights_sha256": encoders.spec.weights_sha256,
    }
    assert "facts" not in usual


def test_the_searches_of_a_batch_are_one_call(encoders: Encoders) -> None:
    index = FakeIndex()
    seen = bodies(
        encoders,
        index,
        request(input=["a", "", "b"], search={"collection": "one"}),
        request(input="c"),
        request(input="d", search={"collection": "gone"}),
        request(input="e", search={"collection": "two", "k": 3}),
    )
    assert [[query.part.collection for query in call] for call in index.calls] == [["one", "one", "gone", "two"]]
    assert [item.get("hits") for item in seen[0][1]["data"]] == [
        [{"id": "one", "score": 1.0}],
        None,
        [{"id": "one", "score": 1.0}],
    ]
    assert "embedding" in seen[1][1]["data"][0]
    assert seen[2][0] == 404
    assert seen[3][1]["data"][0]["hits"] == [{"id": "two", "score": 1.0}]


def test_a_certificate_comes_with_the_search_that_asked_for_it(encoders: Encoders) -> None:
    certified, plain = (
        request(input="a", search={"collection": "one", "exact": exact}) for exact in ("certified", False)
    )
    (_, first), (_, second) = bodies(encoders, FakeIndex(), certified, plain)
    assert first["data"][0]["certificate"] == CERTIFICATE
    assert "certificate" not in second["data"][0]


def test_no_search_no_call(encoders: Encoders) -> None:
    index = FakeIndex()
    bodies(encoders, index, request(input="a"))
    assert index.calls == []


def test_the_index_down_fails_the_searches_and_not_the_embeddings(encoders: Encoders) -> None:
    class Down(FakeIndex):
        def search(self, _fingerprint: str, queries: Sequence[Query]) -> list[Neighbours | ClipServeError]:
            return [IndexUnavailable("the index service does not answer")] * len(queries)

    seen = bodies(encoders, Down(), request(input="a", search={"collection": "c"}), request(input="b"))
    assert [status for status, _ in seen] == [503, 200]


def test_kserve_v2(encoders: Encoders) -> None:
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
    plain, search, bad = bodies(
        encoders,
        FakeIndex(),
        request(id="1", inputs=[tensor]),
        request(inputs=[tensor], parameters={"search": {"collection": "one"}}),
        request(inputs=[{**tensor, "data": ["a", ""]}]),
    )
    output = plain[1]["outputs"][0]
    assert (plain[1]["id"], output["datatype"], output["shape"], len(output["data"])) == ("1", "FP32", [2, 32], 64)
    assert [json.loads(hits) for hits in search[1]["outputs"][0]["data"]] == [[{"id": "one", "score": 1.0}]] * 2
    assert bad[0] == 400


@pytest.mark.parametrize(
    "vector", [[0.0] * 32, [0] * 32, [1e-40] * 32, [-0.0] * 32, [1.0] * 31, [1.0], [float("1e39")] + [0.0] * 31]
)
def test_a_vector_without_a_direction_is_the_callers_error(encoders: Encoders, vector: list[float]) -> None:
    ((status, body),) = bodies(encoders, FakeIndex(), request(input={"vector": vector}))
    assert (status, body["error"]["code"]) == (400, "invalid_vector")


@pytest.mark.parametrize("length", [1e-20, 1e-3, 1.0, 3e38])
def test_a_vector_of_any_length_gives_its_direction(encoders: Encoders, length: float) -> None:
    ((status, body),) = bodies(encoders, FakeIndex(), request(input={"vector": [length] + [0.0] * 31}))
    assert status == 200
    assert decode_vector(body["data"][0]["embedding"]).tolist() == [1.0] + [0.0] * 31


@pytest.mark.parametrize("weights", [(1, -1), (0.1, 0.2, -0.3), (1e6, -1e6), (1e-6, -1e-6), (0.7, 0.1, -0.8)])
def test_parts_that_cancel_are_the_callers_error(encoders: Encoders, weights: tuple[float, ...]) -> None:
    parts = [{"text": "a dog", "weight": weight} for weight in weights]
    ((status, body),) = bodies(encoders, FakeIndex(), request(input={"query": parts}))
    assert (status, body["error"]["param"]) == (400, "query")
