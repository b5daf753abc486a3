"""The dashboard's history of a real stack has figures of all its parts."""

from __future__ import annotations

import itertools

import pytest

from scripts.stack.live_stack import LiveStack
from tests.e2e.conftest import send
from tests.waiting import until

pytestmark = pytest.mark.e2e
WANTED = {
    *("requests_per_s", "p99_ms", "admission_p95_ms", "queue_p95_ms", "in_flight", "queued"),
    *("batch_requests", "batch_fill_percent", "cache_hits_percent", "gateway_bytes", "workers_bytes", "index_bytes"),
}


def test_every_part_tells_its_figures(stack: LiveStack) -> None:
    """Two readings with searches between them are enough."""
    numbers = itertools.count()

    def known() -> set[str]:
        body = {"collection": "demo", "text": f"{next(numbers)} green stars", "k": 3}
        assert send("POST", f"{stack.gateway}/v1/search", body).status == 200
        columns = send("GET", f"{stack.gateway}/v1/stats/history?range=5m").json["columns"]
        return {name for name, values in columns.items() if any(values)}

    until(lambda: known() >= WANTED - {"queued", "in_flight", "cache_hits_percent"}, 60)
    columns = send("GET", f"{stack.gateway}/v1/stats/history?range=5m").json["columns"]
    assert {name for name in WANTED if all(value is None for value in columns[name])} == set()
