"""When a call is sent again, and after how long: exponential backoff with full jitter, and what `Retry-After` asks for.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

from clipserve_client.errors import ApiError, CallTimedOut, ClientError, ConnectionFailed

Repeat = Literal["safe", "unsent"]  # "safe": may be sent twice; "unsent": only if the first one did nothing
_PASSING = (429, 502, 503)
_MOST_DOUBLED = 64  # times: after hours of failures the pause would be too large for a float


@dataclass(frozen=True)
class Retries:
    """Pauses grow from `initial_backoff_s` to `max_backoff_s`; each is a random part of that."""

    max_retries: int = 4
    initial_backoff_s: float = 0.25
    max_backoff_s: float = 10.0

    def pause(self, tries: int, error: ClientError) -> float:
        """Seconds before the next try; `tries` have been made. `Retry-After` is the least."""
        doubled = self.initial_backoff_s * 2.0 ** min(tries, _MOST_DOUBLED)
        jittered = random.uniform(0.0, min(self.max_backoff_s, doubled))
        return max(jittered, (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0)


class Attempts:
    """The tries of one call: `time_left` bounds each, `pause_after` says how long to wait or raises the error."""

    def __init__(self, retries: Retries, repeat: Repeat, timeout_s: float) -> None:
        self._retries, self._repeat = retries, repeat
        self._made, self._timeout_s, self._end = 0, timeout_s, time.monotonic() + timeout_s

    def time_left(self) -> float:
        """Seconds. Raises CallTimedOut."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise CallTimedOut(f"no answer within {self._timeout_s:g} seconds")
        return left

    def pause_after(self, error: ClientError) -> float:
        """Raises `error` when the call is not to be sent again, or not in time."""
        pause = self._retries.pause(self._made, error)
        self._made += 1
        late = time.monotonic() + pause >= self._end
        if late or self._made > self._retries.max_retries or not may_repeat(error, self._repeat):
            raise error
        return pause


def may_repeat(error: ClientError, repeat: Repeat) -> bool:
    if isinstance(error, ConnectionFailed):
        return repeat == "safe" or not error.sent
    if not isinstance(error, ApiError):
        return False
    return error.status == 429 or (repeat == "safe" and error.status in _PASSING)


def retry_after(header: str | None) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3); None for anything else."""
    if header is None:
        return None
    try:
        if header.strip().isdigit():
            return float(header)
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
