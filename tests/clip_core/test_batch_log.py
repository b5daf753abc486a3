"""Batches that went well are one line in a while; one that failed or was slow is a line of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from clip_core.encode.embedding_cache import CacheStats
from clip_core.errors import BadText, ClipServeError
from clip_core.inputs.request import Item, Part, Request
from clip_core.serving.answers import Answer, failure
from clip_core.serving.batch_log import BatchLog, HandledBatch


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(vars(record))

    @property
    def messages(self) -> list[str]:
        return [line["msg"] for line in self.lines]


@pytest.fixture
def kept() -> Iterator[Kept]:
    logger, handler = logging.getLogger("clipserve.test_batch_log"), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


def batch_log(interval_s: float = 10.0, slow_s: float = 1.0) -> BatchLog:
    return BatchLog(logging.getLogger("clipserve.test_batch_log"), interval_s, slow_s)


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
    assert kept.lines == []
    log.report()
    log.report()
    assert kept.messages == ["batches"]
    expected = {"batches": 2, "requests": 2, "items": 2, "cache_hits": 2, "mean_ms": 2.0, "longest_ms": 3.0}
    assert {name: kept.lines[0][name] for name in expected} == expected


@pytest.mark.parametrize("remarkable", [batch(error=BadText("the text is empty")), batch(seconds=1.5)])
def test_a_batch_that_failed_or_was_slow_has_its_own_line(kept: Kept, remarkable: HandledBatch) -> None:
    log = batch_log()
    log.add(remarkable)
    log.report()
    assert kept.messages == ["batch"]
    line = kept.lines[0]
    assert (line["request_ids"], line["statuses"]) == (["r1"], [remarkable.answers[0].status])
    assert (line["cache_hits"], line["cache_misses"], line["cache_bytes"]) == (1, 0, 9)


def test_each_batch_has_a_line_without_an_interval_and_at_debug(kept: Kept) -> None:
    batch_log(interval_s=0).add(batch())
    logging.getLogger("clipserve.test_batch_log").setLevel(logging.DEBUG)
    batch_log().add(batch())
    assert kept.messages == ["batch", "batch"]
