"""Gateways and encoders replaced one by one behind a load balancer: no request fails, and no write is lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.ship.pods import KEY
from benchmarks.ship.rollout import COLLECTION, cluster, rolled
from benchmarks.ship.service import NoProxyError
from clipserve_client import Client, NewItem
from clipserve_client.ingest.results import Tally

_PAUSE_S = 0.02


def written(url: str, stop: threading.Event) -> tuple[Tally, int]:
    """What became of items that the client adds until `stop`, and how many are there. It sends again what got 503."""

    def items() -> Iterator[NewItem]:
        for n in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
            time.sleep(_PAUSE_S)
            yield NewItem(f"new-{n}", text=f"a blue square number {n}")

    with Client(url, api_key=KEY) as client:
        tally = client.ingest(COLLECTION, items())
        return tally, sum(item.id.startswith("new-") for item in client.items(COLLECTION))


@pytest.mark.e2e
@pytest.mark.full
@pytest.mark.timeout(900)
def test_no_request_fails_while_every_pod_is_replaced(archives: list[Path], tmp_path: Path) -> None:
    stop = threading.Event()
    try:
        with cluster(tmp_path, archives[0].parent, pre_stop_s=1.0) as stack, ThreadPoolExecutor() as pool:
            writing = pool.submit(written, stack.url, stop)
            try:
                answers = rolled(stack, requests=0, callers=4, say=print)
            finally:
                stop.set()
            tally, found = writing.result()
    except NoProxyError as reason:
        pytest.skip(str(reason))
    assert answers.failed == 0, answers.faults
    assert answers.sent > 100
    assert len(answers.fingerprints) == 1
    assert tally.failed == []
    assert tally.added == found > 100
