"""Which of these processes still run: a zombie that its parent has not yet reaped does not."""

from __future__ import annotations

from collections.abc import Sequence

import psutil


def still_running(family: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
