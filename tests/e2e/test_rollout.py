"""Gateways and encoders replaced one by one behind a load balancer: no request fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ship.rollout import cluster, rolled
from benchmarks.ship.service import NoProxyError


@pytest.mark.e2e
@pytest.mark.full
@pytest.mark.timeout(900)
def test_no_request_fails_while_every_pod_is_replaced(archives: list[Path], tmp_path: Path) -> None:
    try:
        with cluster(tmp_path, archives[0].parent, pre_stop_s=1.0) as stack:
            answers = rolled(stack, requests=0, callers=4, say=print)
    except NoProxyError as reason:
        pytest.skip(str(reason))
    assert answers.failed == 0, answers.faults
    assert answers.sent > 100
    assert len(answers.fingerprints) == 1
