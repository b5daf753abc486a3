"""Waiting until every part of the stack is ready, with patience for a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from scripts.processes.background import in_background
from scripts.processes.preflight import StackStartError

Parts = Mapping[str, str]
"""Part → "ok", or what is wrong with it."""


def wait_ready(
    ask: Callable[[], Parts],
    patience_s: float,
    look: Callable[[], object],
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Wait until `ask` finds every part ready. `look` is called repeatedly meanwhile; it takes a moment.

    `say` gets the missing parts whenever they change. Raises StackStartError when no further part has become ready for
    `patience_s` seconds.
    """
    ready: set[str] = set()
    since, said = time.monotonic(), ""
    while True:
        parts = _answer(ask, look)
        now_ready = {name for name, verdict in parts.items() if verdict == "ok"}
        if now_ready == set(parts):
            return
        if now_ready - ready:
            ready, since = ready | now_ready, time.monotonic()
        missing = ", ".join(name for name in parts if name not in now_ready)
        if missing != said:
            said = missing
            say(missing)
        if time.monotonic() - since > patience_s:
            reasons = "; ".join(f"{name}: {verdict}" for name, verdict in parts.items() if verdict != "ok")
            raise StackStartError(f"no further part became ready for {patience_s:.0f} s. {reasons}")
        look()


def _answer(ask: Callable[[], Parts], look: Callable[[], object]) -> Parts:
    """Asked in a thread, since the gateway may take its time to answer."""
    asked = in_background(ask)
    while not asked.done():
        look()
    return asked.result()
