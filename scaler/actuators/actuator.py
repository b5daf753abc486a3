"""Where sizes go: to TorchServe, or nowhere but into answers, which KEDA asks for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from clip_core.errors import TorchServeUnavailable
from scaler.actuators.start_times import StartTimes
from scaler.actuators.torchserve import TorchServeWorkers, WorkerCount

_log = logging.getLogger("scaler.actuators")


class Actuator(Protocol):
    """`count` is None where it isn't known. Neither method raises."""

    async def count(self, endpoint: str) -> WorkerCount | None: ...

    async def apply(self, endpoint: str, size: int) -> None: ...

    def start_s(self, endpoint: str) -> float: ...

    def forget(self, endpoint: str) -> None: ...

    async def close(self) -> None: ...


class NoActuator:
    """Somebody else sets the size, and counts."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s

    async def count(self, endpoint: str) -> WorkerCount | None:  # noqa: ARG002
        return None

    async def apply(self, endpoint: str, size: int) -> None:
        pass

    def start_s(self, endpoint: str) -> float:  # noqa: ARG002
        return self._start_s

    def forget(self, endpoint: str) -> None:
        pass

    async def close(self) -> None:
        pass


class WorkerActuator:
    """TorchServe's workers. A refusal is said once, and tried again at the next look."""

    def __init__(
        self, torchserve: TorchServeWorkers, start_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._torchserve, self._start_s, self._clock = torchserve, start_s, clock
        self._counts: dict[str, WorkerCount] = {}
        self._starts: dict[str, StartTimes] = {}
        self._failure: dict[str, str] = {}

    async def count(self, endpoint: str) -> WorkerCount | None:
        try:
            found = await self._torchserve.count(endpoint)
        except TorchServeUnavailable as error:
            self._tell(endpoint, str(error))
            self._counts.pop(endpoint, None)
            return None
        self._tell(endpoint, "")
        self._counts[endpoint] = found
        self._of(endpoint).see(found.ready, self._clock())
        return found

    async def apply(self, endpoint: str, size: int) -> None:
        """Nothing to do where so many are wanted already, or where TorchServe is away."""
        count = self._counts.get(endpoint)
        if count is None or count.wanted == size:
            return
        try:
            await self._torchserve.scale(endpoint, size)
        except TorchServeUnavailable as error:
            self._tell(endpoint, str(error))
            return
        self._of(endpoint).asked(size, count.ready, self._clock())
        _log.info("%s: %d workers instead of %d", endpoint, size, count.wanted)

    def start_s(self, endpoint: str) -> float:
        return self._of(endpoint).p90_s

    def forget(self, endpoint: str) -> None:
        """It is not scaled any more."""
        for kept in (self._counts, self._starts, self._failure):
            kept.pop(endpoint, None)

    async def close(self) -> None:
        await self._torchserve.close()

    def _of(self, endpoint: str) -> StartTimes:
        return self._starts.setdefault(endpoint, StartTimes(self._start_s))

    def _tell(self, endpoint: str, failure: str) -> None:
        if failure and failure != self._failure.get(endpoint):
            _log.warning("%s; its workers stay as they are", failure)
        self._failure[endpoint] = failure
