"""The embedding caches of workers: looked at, cleared, and made to forget single inputs, worker by worker."""

from __future__ import annotations

import time
from typing import Any

from clip_core.errors import TorchServeUnavailable
from scripts.models.management import Management

_PATIENCE_S = 15.0
_PAUSE_S = 0.02

CacheAnswer = dict[str, Any]
"""What a worker says of its cache: CacheStats, with `cleared` or `forgotten`."""


class WorkerCaches:
    """`token`: what CLIPSERVE_HANDLER_ADMIN_TOKEN is at the workers."""

    def __init__(self, torchserve: Management, token: str, patience_s: float = _PATIENCE_S) -> None:
        self._torchserve, self._token, self._patience_s = torchserve, token, patience_s

    def ask(self, endpoint: str, action: dict[str, Any]) -> dict[str, CacheAnswer]:
        """Worker → its first answer, of every worker of an endpoint.

        TorchServe gives a request to one worker, the one that has waited for longest: so it is asked again until all
        have answered. Raises TorchServeUnavailable when some have not in time, or one refuses.
        """
        workers, answers = len(self._torchserve.worker_pids(endpoint)), dict[str, CacheAnswer]()
        deadline = time.monotonic() + self._patience_s
        while len(answers) < max(1, workers):
            if time.monotonic() > deadline:
                raise TorchServeUnavailable(
                    f"only {len(answers)} of {workers} workers of {endpoint} answered: the others are busy; try again"
                )
            answer = self._torchserve.predict(endpoint, {"admin": {**action, "token": self._token}})
            answers.setdefault(str(answer["worker"]), answer["cache"])
            time.sleep(_PAUSE_S if len(answers) < workers else 0.0)
        return answers
