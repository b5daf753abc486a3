"""The recall of live searches in Milvus: some are repeated over every item, as the embedded store's are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clip_core.wire import encode_vector
from index_service.answers.hits import Search, SearchBatch
from index_service.collection.recall import Sample
from index_service.collection.registry import Registry
from index_service.milvus.reading import Moment
from index_service.milvus.repeating import RepeatedSearches
from index_service.record.records import CollectionInfo
from tests.index_service.helpers import item, unit_rows

pytestmark = pytest.mark.xdist_group("milvus")

DIM, N = 8, 300
ROWS = unit_rows(N, DIM)


@pytest.fixture
def collection(registry: Registry) -> Any:
    made, _ = registry.create(CollectionInfo("c", "m", "f", DIM, store="milvus"))
    made.upsert([item(f"i{n}", row, {"n": n}) for n, row in enumerate(ROWS)], ROWS)
    return made


def searched(collection: Any, exact: bool = False, where: bytes | None = None) -> Sample | None:
    batch = SearchBatch([Search(0, encode_vector(ROWS[0]), 20, ())], ROWS[:1])
    sample: Sample | None = collection.search(batch, where, exact)[1]
    return sample


@pytest.mark.parametrize("where", [None, b'{"n":{"$lt":150}}'])
def test_what_was_found_is_compared_with_all_items(collection: Any, where: bytes | None) -> None:
    sample = searched(collection, where=where)
    assert sample is not None
    sample.measure()
    assert collection.describe()["recall"] == [{"engine": "milvus", "k": 10, "recall": 1.0, "samples": 1}]
    sample._replace(scores=np.full(20, -1, np.float32)).measure()  # as if it had found the worst items
    assert collection.describe()["recall"][0]["recall"] == 0.5
    assert collection.gauges().recall == collection.describe()["recall"]


def test_exact_searches_are_not_repeated(collection: Any) -> None:
    assert searched(collection, exact=True) is None


def test_a_collection_that_is_too_large_is_not_read(collection: Any) -> None:
    sample = searched(collection)
    assert sample is not None
    small = RepeatedSearches(collection._reader, Moment("strong", 0), most=N - 1)
    sample._replace(view=small).measure()
    assert collection.describe()["recall"] == []
