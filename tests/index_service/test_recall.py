"""Live searches are repeated exactly now and then, and what they missed is counted."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from index_service.collection.recall import RecallCounts, RecallSampler, Sample
from index_service.collection.stored import Gauges
from index_service.engines.faiss.backend import FaissBackend
from index_service.metadata.columns import Packed, RowBlock
from index_service.metrics.metrics import LEAST_SAMPLES, CollectionGauges
from index_service.segments.view import View, view_of
from tests.index_service.helpers import unit_rows

ROWS = unit_rows(5000, 16)


@pytest.fixture(scope="module")
def view() -> View:
    segment = FaissBackend("IVF64,Flat", threads=1, effort=1).build(ROWS)
    ids = Packed.of([b"%d" % n for n in range(len(ROWS))])
    return view_of(segment, RowBlock(np.arange(len(ROWS)), ROWS, ids, Packed.of([b"{}"] * len(ROWS))))


def test_what_a_search_missed_is_counted(view: View) -> None:
    tally, queries = RecallCounts(), unit_rows(20, 16, seed=1)
    expected = []
    for query in queries:
        scores, rows = view.search(query[None], 10, None, False)
        truth = view.search(query[None], 10, None, True)[1]
        expected.append(len(np.intersect1d(rows[0], truth[0])) / 10)
        Sample(tally, view, query, None, scores[0]).measure()
    (counted,) = tally.describe()
    assert (counted["engine"], counted["k"], counted["samples"]) == ("faiss", 10, 20)
    assert counted["recall"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert counted["recall"] < 1


def test_the_share_that_was_asked_for_is_measured_in_the_background(view: View) -> None:
    all_, none = RecallCounts(), RecallCounts()
    for tally, share in ((all_, 1.0), (none, 0.0)):
        sampler = RecallSampler(share)
        sampler.start()
        scores = view.search(ROWS[:1], 10, None, False)[0]
        sampler.offer([Sample(tally, view, ROWS[0], None, scores[0])] * 3)
        deadline = time.monotonic() + 10
        while share and time.monotonic() < deadline and not (tally.describe() and tally.describe()[0]["samples"] == 3):
            time.sleep(0.01)
        sampler.close()
    assert all_.describe()[0]["samples"] == 3
    assert none.describe() == []


def test_offers_never_wait_and_an_empty_answer_counts_nothing(view: View) -> None:
    tally = RecallCounts()
    sampler = RecallSampler(1.0)  # not started: nobody takes what is offered
    sampler.offer([Sample(tally, view, ROWS[0], None, ROWS[0, :0])] * 1000)
    Sample(tally, view, ROWS[0], None, ROWS[0, :0]).measure()
    assert tally.describe() == []


def test_the_recall_of_a_few_searches_is_not_shown() -> None:
    counts = RecallCounts()
    about = SimpleNamespace(info=SimpleNamespace(name="c"), gauges=lambda: Gauges(1, recall=counts.describe()))
    every: Any = SimpleNamespace(ready=True, shares=False, all=lambda: [about])

    def shown() -> list[float]:
        families = CollectionGauges(every).collect()
        return [each.value for family in families if "recall" in family.name for each in family.samples]

    for _ in range(LEAST_SAMPLES - 1):
        counts.add("faiss", 10, 0.5)
    assert shown() == []
    counts.add("faiss", 10, 0.5)
    assert shown() == [0.5]
