"""Batches that went well are one line in a while; one that failed or was slow is a line of its own."""

from __future__ import annotations

import logging

import pytest

from clip_core.encode.embedding_cache import CacheStats
from clip_core.errors import BadText, ClipServeError
from clip_core.inputs.request import Item, Part, Request
from clip_core.serving.answers import Answer, failure
from clip_core.serving.batch_log import BatchLog, HandledBatch

NAME = "clipserve.test_batch_log"
Kept = pytest.LogCaptureFixture


@pytest.fixture
def kept(caplog: Kept) -> Kept:
    caplog.set_level(logging.INFO, NAME)
    return caplog


def batch_log(interval_s: float = 10.0) -> BatchLog:
    return BatchLog(logging.getLogger(NAME), interval_s, 1.0)


def batch(seconds: float = 0.002, error: ClipServeError | None = None) -> HandledBatch:
    request = Request((Item((Part("text", "a dog"),)),), single=True, request_id="r1")
    answer = failure(error) if error else Answer(200, b"{}")
    return HandledBatch(
        [request], [answer], seconds, CacheStats(hits=3, misses=4), CacheStats(hits=4, misses=4, bytes=9)
    )


def test_good_batches_are_summed(kept: Kept) -> None:
    log = batch_log()
    for seconds in (0.001, 0.003):
        log.add(batch(seconds))
    assert kept.messages == []
    log.report()
    log.report()
    assert kept.messages == ["batches"]
    expected = {"batches": 2, "requests": 2, "items": 2, "cache_hits": 2, "mean_ms": 2.0, "longest_ms": 3.0}
    assert {name: vars(kept.records[0])[name] for name in expected} == expected


@pytest.mark.parametrize("remarkable", [batch(error=BadText("the text is empty")), batch(seconds=1.5)])
def test_a_batch_that_failed_or_was_slow_has_its_own_line(kept: Kept, remarkable: HandledBatch) -> None:
    log = batch_log()
    log.add(remarkable)
    log.report()
    assert kept.messages == ["batch"]
    line = vars(kept.records[0])
    assert (line["request_ids"], line["statuses"]) == (["r1"], [remarkable.answers[0].status])
    assert (line["cache_hits"], line["cache_misses"], line["cache_bytes"]) == (1, 0, 9)


def test_each_batch_has_a_line_without_an_interval_and_at_debug(kept: Kept) -> None:
    batch_log(interval_s=0).add(batch())
    kept.set_level(logging.DEBUG, NAME)
    batch_log().add(batch())
    assert kept.messages == ["batch", "batch"]
