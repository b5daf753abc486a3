"""A stack that is ready, however busy the machine is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scripts.stack.live_stack import LiveStack, live_stack

START_S = 400.0  # archives to be built included
UNCACHED = {"CLIPSERVE_HANDLER_CACHE": "false"}


@contextmanager
def ready_stack(
    directory: Path, env: Mapping[str, str] | None = None, checkout: Path | None = None
) -> Iterator[LiveStack]:
    """`live_stack`, once it is ready. Raises RuntimeError when it does not start."""
    patient = {"CLIPSERVE_STARTUP_TIMEOUT": f"{START_S:g}", **(env or {})}
    with live_stack(directory, env=patient, checkout=checkout) as stack:
        stack.wait_ready(START_S)
        yield stack
