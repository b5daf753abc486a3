"""How endpoints leave TorchServe without a failed request: when nothing waits for them any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from clip_core.errors import TorchServeUnavailable
from scripts.models.management import Management

_LOOK_S = 0.05
_STUCK_S = 180.0  # in which no request was taken: longer than TorchServe gives a worker that does not answer


def retire(
    torchserve: Management,
    leaving: Mapping[str, str],
    items: Mapping[str, Any],
    drain_s: float,
    report: Callable[[str], object],
) -> None:
    """`leaving`: endpoint → version, which no new request reaches; `items`: a request that each endpoint takes.

    Requests taken out of the queue just before are with the workers, on a busy machine for long. A canary for each
    worker that is ready is answered after those of the worker that takes it; the pause is for what another may have.
    An endpoint whose workers take nothing any more, or answer no canary, leaves with what waits for it.
    """
    for endpoint, version in leaving.items():
        if left := _stuck(torchserve, endpoint, version):
            report(f"{endpoint} {version}: no request was taken for {_STUCK_S:g} s; the {left} that wait fail now")
            continue
        if error := _unanswered(torchserve, endpoint, version, items[endpoint]):
            report(f"{endpoint} {version}: a worker did not answer, and what it has fails now ({error})")
    time.sleep(drain_s)
    for endpoint, version in leaving.items():
        torchserve.unregister(endpoint, version)
        report(f"{endpoint} {version} is gone")


def workers(torchserve: Management, endpoint: str, version: str) -> int:
    """How many it has; 1 at least."""
    return max(1, len(_workers(torchserve, endpoint, version)))


def _stuck(torchserve: Management, endpoint: str, version: str) -> int:
    """Waits until no request does → 0, or how many wait where their number does not fall."""
    left, moved = torchserve.pending(endpoint, version), time.monotonic()
    while left and time.monotonic() - moved < _STUCK_S:
        time.sleep(_LOOK_S)
        now = torchserve.pending(endpoint, version)
        if now < left:
            left, moved = now, time.monotonic()
    return left


def _unanswered(torchserve: Management, endpoint: str, version: str, item: Any) -> TorchServeUnavailable | None:
    """Sends the canaries → why one had no answer; after all of the time none is sent any more."""
    end = time.monotonic() + _STUCK_S
    failed: TorchServeUnavailable | None = None
    for _ in range(_ready(torchserve, endpoint, version)):
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            torchserve.predict(endpoint, item, version, left)
        except TorchServeUnavailable as error:
            failed = error
    return failed


def _ready(torchserve: Management, endpoint: str, version: str) -> int:
    return sum(each["status"] == "READY" for each in _workers(torchserve, endpoint, version))


def _workers(torchserve: Management, endpoint: str, version: str) -> list[dict[str, Any]]:
    found = [each for each in torchserve.versions(endpoint) if str(each["modelVersion"]) == version]
    return list(found[0]["workers"]) if found else []
