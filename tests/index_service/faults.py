"""A failure at any one call: what a test needs to say that nothing is wrong afterwards."""

from __future__ import annotations

import inspect
import sys
from types import FrameType, TracebackType
from typing import Any

import index_service

_FOLDER = index_service.__path__[0]
_ALWAYS = ("__exit__", "release")  # of a lock: these need no memory


class Fault:
    """Raises MemoryError at the `n`-th call that index_service's code in this thread makes or receives."""

    def __init__(self, n: int) -> None:
        self._left = n
        self.raised = False

    def __enter__(self) -> Fault:
        sys.setprofile(self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, called: Any) -> None:
        code = frame.f_code
        if event not in ("call", "c_call") or not code.co_filename.startswith(_FOLDER):
            return
        if getattr(called, "__name__", "") in _ALWAYS:
            return
        if event == "call" and code.co_flags & inspect.CO_GENERATOR:  # going on with one calls nothing that could fail
            return
        self._left -= 1
        if self._left < 0 and not self.raised:
            self.raised = True
            raise MemoryError("injected")
