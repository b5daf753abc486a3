"""How endpoints leave TorchServe without a failed request: when nothing waits for them any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from scripts.models.management import Management

_LOOK_S = 0.05


def retire(
    torchserve: Management,
    leaving: Mapping[str, str],
    items: Mapping[str, Any],
    drain_s: float,
    report: Callable[[str], object],
) -> None:
    """`leaving`: endpoint → version, which no new request reaches; `items`: a request that each endpoint takes.

    Requests taken out of the queue just before are with the workers, on a busy machine for long. A canary for each
    worker is answered after those of the worker that takes it; the pause is for what another may have.
    """
    for endpoint, version in leaving.items():
        while torchserve.pending(endpoint, version):
            time.sleep(_LOOK_S)
        for _ in range(workers(torchserve, endpoint, version)):
            torchserve.predict(endpoint, items[endpoint], version)
    time.sleep(drain_s)
    for endpoint, version in leaving.items():
        torchserve.unregister(endpoint, version)
        report(f"{endpoint} {version} is gone")


def workers(torchserve: Management, endpoint: str, version: str) -> int:
    """How many it has; 1 at least."""
    found = [each for each in torchserve.versions(endpoint) if str(each["modelVersion"]) == version]
    return max(1, len(found[0]["workers"])) if found else 1
