"""Waiting for a server, or for what else comes in its own time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import httpx


def answers(url: str) -> bool:
    """Whether it answers 200."""
    try:
        return httpx.get(url, timeout=15).status_code == 200
    except httpx.TransportError:
        return False


def until(
    look: Callable[[], object],
    seconds: float,
    fault: Callable[[], str],
    process: subprocess.Popen[bytes] | None = None,
    pause_s: float = 0.1,
) -> float:
    """The seconds until `look` gives something true.

    Raises RuntimeError with what `fault` says after so many, and when the `process` has ended.
    """
    started = time.monotonic()
    while not look():
        if time.monotonic() - started > seconds or (process is not None and process.poll() is not None):
            raise RuntimeError(fault())
        time.sleep(pause_s)
    return time.monotonic() - started
