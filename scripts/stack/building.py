"""The archives that `up` lacks, built by a process of its own, so that torch does not stay in this one's memory."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from scripts.processes import launching
from scripts.processes.preflight import StackStartError
from scripts.processes.process_tree import family, kill_all
from scripts.processes.stop_signals import Stopped, StopSignals
from scripts.stack.up_models import UpModel

_LOOK_S = 0.1
_CLEAN_UP_S = 3.0


def build(model: UpModel, store: Path, umask: int, signals: StopSignals, *, quick: bool = False) -> None:
    """`umask`: archives are no secret. Raises StackStartError, and Stopped."""
    command = quick_command(model, store) if quick else full_command(model, store)
    if run_to_end(command, umask, signals) != 0:
        raise StackStartError(f"the archives of {model.row.name} could not be built (the reason stands above).")


def quick_command(model: UpModel, store: Path) -> list[str]:
    given = {key: value for key, value in model.given.items() if key not in ("precision", "compile")}
    return _command(model, store, given, "--quick")


def full_command(model: UpModel, store: Path, *options: str) -> list[str]:
    return _command(model, store, model.given, *options)


def _command(model: UpModel, store: Path, given: Mapping[str, object], *options: str) -> list[str]:
    checkpoint = ["--checkpoint", str(model.checkpoint)] if model.checkpoint else []
    named = [part for key, value in given.items() for part in _option(key, value)]
    captions = () if model.row.caption else ("--no-captions",)
    words = ("--model-store", str(store), "--prefix", model.prefix, *captions, *checkpoint, *named, *options)
    return launching.module("scripts.cli", "archive", "build", model.source, *words)


def _option(name: str, value: object) -> tuple[str, ...]:
    """None where the model's own setting stays."""
    if isinstance(value, bool):
        return (f"--{name}",) if value else (f"--no-{name}",)
    return (f"--{name}", str(value)) if value else ()


def run_to_end(command: list[str], umask: int, signals: StopSignals) -> int:
    """Its exit status. In a session of its own: Ctrl-C reaches it once, through us."""
    process = subprocess.Popen(command, umask=umask, start_new_session=True)
    try:
        while process.poll() is None:
            signals.pause(_LOOK_S)
    except Stopped:
        _interrupt(process, signals)
        raise
    return process.returncode


def _interrupt(process: subprocess.Popen[bytes], signals: StopSignals) -> None:
    """It may remove what is half built."""
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _CLEAN_UP_S
    while process.poll() is None and time.monotonic() < deadline and not signals.hurried:
        time.sleep(_LOOK_S)
    kill_all(process, family(process.pid))
    process.wait()
