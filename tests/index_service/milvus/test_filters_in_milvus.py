"""Filters evaluated by the real server, and finished here, against the reference interpreter."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings

from benchmarks.lib.milvus_server import MilvusServer
from clip_core.wire import encode_vector
from index_service.answers.hits import Search, SearchBatch
from index_service.metadata.filters import (
    MAX_CONDITIONS,
    MAX_FIELDS,
    MAX_OPERANDS,
    canonical,
    compile_filter,
)
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.catalogue.connect import shared_store
from index_service.milvus.collection import MilvusCollection
from index_service.milvus.schema import MAX_TERMS
from index_service.record.records import CollectionInfo
from index_service.settings import IndexSettings
from tests.index_service.helpers import item, unit_rows
from tests.index_service.test_filters import FILTERS, reference

pytestmark = pytest.mark.xdist_group("milvus")

DIM, N = 4, 400
ROWS = unit_rows(N, DIM)
PLAIN: list[Any] = [
    None,
    True,
    False,
    *range(-2, 3),
    0.5,
    1.0,
    -1.5,
    2.0**53,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**63 - 1,
]
PLAIN += ["", "1", "a", "b", "ä", "a\u0308", "\U0001f600", "\uffff", "a" * 70, 'q"u', "\x00", 1e-7, 1e300, 5e-324]


def value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if depth > 2 or kind < 0.7:
        return chance.choice(PLAIN)
    if kind < 0.85:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {key: value(chance, depth + 1) for key in chance.sample("xy", chance.randrange(3))}


def documents() -> list[dict[str, Any]]:
    chance = random.Random(5)
    keys = ["x", "y", "x.y", "y.x", "z", "ü", ""]
    made = [{key: value(chance) for key in chance.sample(keys, chance.randrange(5))} for _ in range(N - 1)]
    return [*made, {"x": [*range(MAX_TERMS)], "y": 1}]


DOCUMENTS = documents()


@pytest.fixture(scope="module")
def filled(milvus_server: MilvusServer) -> Iterator[MilvusCollection]:
    catalogue = shared_store(IndexSettings(milvus_uri=milvus_server.uri, milvus_prefix="filters"))
    assert isinstance(catalogue, MilvusCatalogue)
    made = catalogue.create(CollectionInfo("c", "m", "f", DIM, store="milvus"))
    made.upsert([item(f"i{n:03}", ROWS[n], DOCUMENTS[n]) for n in range(N)], ROWS)
    assert isinstance(made, MilvusCollection)
    yield made
    catalogue.drop("c")
    catalogue.close()


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(filter_=FILTERS)
@example(filter_={"x": {"$gt": 2**53}})
@example(filter_={"x": {"$not": {"$gte": "a" * 66}}})
@example(filter_={"x": {"$lt": 'q"v'}})
@example(filter_={"x": 4000})
@example(filter_={"x": {"$in": list(range(3000))}})
@example(filter_={"x": {"$gt": 1e-8, "$lt": 1e-6}})
@example(filter_={"x": {"$gt": 0, "$lt": 1e-300}})
def test_listings_and_searches_under_filters(filled: MilvusCollection, filter_: dict[str, Any]) -> None:
    where, wanted = canonical(filter_), [f"i{n:03}" for n in range(N) if reference(filter_, DOCUMENTS[n])]
    assert [id_ for id_, _ in filled.matching(where, "", 1000)] == wanted
    batch = SearchBatch([Search(0, encode_vector(ROWS[0]), N, ())], ROWS[:1])
    for exact in (False, True):
        found, _ = filled.search(batch, where, exact)
        ((_, answer),) = found.answers([0])
        assert sorted(hit["id"] for hit in answer["hits"]) == wanted
    small = SearchBatch([Search(0, encode_vector(ROWS[0]), 3, ("metadata",))], ROWS[:1])
    ((_, answer),) = filled.search(small, where, False)[0].answers([0])
    scores = np.sort(ROWS[[int(id_[1:]) for id_ in wanted]] @ ROWS[0])[::-1] if wanted else np.empty(0)
    assert np.allclose([hit["score"] for hit in answer["hits"]], scores[:3], atol=1e-6)
    assert all(reference(filter_, orjson.loads(orjson.dumps(hit["metadata"]))) for hit in answer["hits"])


def nested(depth: int) -> dict[str, Any]:
    """Every level is an operator with several operands, of which one goes deeper."""
    filter_: dict[str, Any] = {"y": {"$exists": True}}
    for level in range(depth):
        more = [{"x": {"$gt": level}}, {"z": level}]
        filter_ = {"$or": [filter_, *more]} if level % 3 else {"$not": {"$or": [filter_, *more]}}
    return filter_


LARGEST: dict[str, dict[str, Any]] = {
    "operands": {"x": {"$in": [*range(MAX_OPERANDS - 1), "a"]}},
    "conditions": {"$or": [{"x": {"$gt": n}} for n in range(MAX_CONDITIONS)]},
    "conditions that all hold": {"$and": [{"x": {"$ne": n}} for n in range(MAX_CONDITIONS)]},
    "fields": {f"f{n}": {"$ne": n} for n in range(MAX_FIELDS)},
    "levels": nested(21),
    "negations": {"$not": {"$not": {"$not": {"$not": {"$not": {"$not": {"$not": {"$not": {"x": {"$gte": 1}}}}}}}}}},
}


@pytest.mark.parametrize("filter_", LARGEST.values(), ids=LARGEST)
def test_the_largest_filters_are_answered_in_time(filled: MilvusCollection, filter_: dict[str, Any]) -> None:
    where, wanted = canonical(filter_), [f"i{n:03}" for n in range(N) if reference(filter_, DOCUMENTS[n])]
    started = time.monotonic()
    compile_filter(where)
    assert [id_ for id_, _ in filled.matching(where, "", 1000)] == wanted
    batch = SearchBatch([Search(0, encode_vector(ROWS[0]), N, ())], ROWS[:1])
    ((_, answer),) = filled.search(batch, where, False)[0].answers([0])
    assert sorted(hit["id"] for hit in answer["hits"]) == wanted
    assert time.monotonic() - started < 5


def test_facets_count_what_passes(filled: MilvusCollection) -> None:
    (facet,) = filled.facets(["x"], canonical({"y": {"$exists": True}}), 100, 1 << 20)
    passing = [document for document in DOCUMENTS if "y" in document]
    plain = [document["x"] for document in passing if isinstance(document.get("x"), str | int | float)]
    assert facet.counts.missing == len(passing) - len(plain)
    assert sum(count for _, count in facet.counts.values) == len(plain)
    assert dict(facet.values).get("a") == (plain.count("a") or None)
