"""A request that waits for its turn, the call that it belongs to, and the wait itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from clip_core.errors import Overloaded

Answer = Callable[[Overloaded | None], None]


@dataclass(eq=False, slots=True)
class AdmissionCall:
    """One caller's inputs for one endpoint, sent as one or several requests.

    A `patient` call is never refused. Whether a call may wait is decided once, for all its requests (`accepted`). A
    call has `begun` once one of its requests was admitted; then it is not refused any more. Once one of its requests is
    refused, `refused` holds the error and the other requests are refused too.
    """

    caller: str
    patient: bool = False
    accepted: bool = False
    begun: bool = False
    refused: Overloaded | None = None

    @property
    def firm(self) -> bool:
        """Whether it will be served, however late."""
        return self.begun or self.patient


@dataclass(eq=False, slots=True)
class QueuedRequest:
    """A waiting request. `answer` is called once: with None when the request is admitted, else with the error."""

    call: AdmissionCall
    weight: int
    since: float
    answer: Answer
    waits: bool = True
    inside: bool = False

    @property
    def lane(self) -> str:
        return self.call.caller

    @property
    def firm(self) -> bool:
        return self.call.firm


async def wait_in_queue(
    join: Callable[[Answer], QueuedRequest],
    wait_s: float,
    expire: Callable[[QueuedRequest], None],
    withdraw: Callable[[QueuedRequest], None],
) -> None:
    """Join a queue and wait for the answer. Raises it when it is an error, and what `join` raises.

    `expire` is called after `wait_s` seconds, `withdraw` when the caller leaves.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()
    waiter = join(partial(_settle, answered))
    timer = loop.call_later(wait_s, expire, waiter)
    try:
        await answered
    except asyncio.CancelledError:
        withdraw(waiter)
        raise
    finally:
        timer.cancel()


def _settle(answered: asyncio.Future[None], error: Overloaded | None) -> None:
    if answered.done():
        return
    if error is None:
        answered.set_result(None)
    else:
        answered.set_exception(error)
