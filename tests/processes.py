"""Which of these processes still run: a zombie that its parent has not yet reaped does not."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from scripts.processes.process_tree import runs


def still_running(family: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if runs(process)]
