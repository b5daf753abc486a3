"""Command lines of our own processes: none looks for modules in the current folder, each ends with its parent."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_LAUNCH = str(Path(__file__).resolve().parent.parent / "launch")


def module(name: str, *arguments: str) -> list[str]:
    """`python -m name …`. Start it from this process's main thread: it ends when the thread that started it does."""
    return [sys.executable, _LAUNCH, str(os.getpid()), "-m", name, *arguments]


def program(command: Sequence[str]) -> list[str]:
    """Any other program, such as Java."""
    return [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), *command]


def python_script(path: Path) -> Path:
    """Write a shell script that stands for `python`: what it starts ends with its parent, too."""
    python = shlex.quote(sys.executable)
    path.write_text(f'#!/bin/sh\nexec {python} -I -S {shlex.quote(_LAUNCH)} "$PPID" {python} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return path
