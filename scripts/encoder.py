"""`python -m scripts.encoder`: TorchServe alone, in the foreground, as a container runs it.

It serves every archive of the model store. Its management API is behind the same guard as with `clipserve up`.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pydantic import Field, ValidationError

from clip_core.logs import configure_logging
from clip_core.setting_checks import faults
from scripts.archive.places import MODEL_STORE
from scripts.processes import launching
from scripts.processes.preflight import StackStartError, check_disk, find_java
from scripts.processes.process_tree import family, kill_all
from scripts.stack import torchserve
from scripts.stack.management_guard import guarded
from scripts.stack.up_settings import UpSettings, unknown_names

_log = logging.getLogger("encoder")
_VERSION = re.compile(r"-\d+\.0\Z")


class EncoderSettings(UpSettings):
    """Those of `up` that are about TorchServe, and where it listens."""

    encoder_host: str = Field("127.0.0.1", description="address on which TorchServe listens where it runs alone")


def endpoints(store: Path) -> dict[str, str]:
    """Name → file, of each archive in the store, but for copies that a swap has left there: ENDPOINT-VERSION.mar.

    Raises StackStartError when there is none.
    """
    names = {path.stem: path.name for path in sorted(store.glob("*.mar"))}
    found = {name: file for name, file in names.items() if _VERSION.sub("", name) not in names.keys() - {name}}
    if not found:
        raise StackStartError(
            f"there is no archive (.mar) in {store}: mount a folder that "
            "`clipserve archive build MODEL --model-store DIR` has filled"
        )
    return found


def environment(settings: EncoderSettings, run_dir: Path) -> Mapping[str, str]:
    """What the process was given wins, such as where the index service is."""
    return {**torchserve.environment(settings, run_dir, run_dir), **os.environ}


def serve(settings: EncoderSettings, run_dir: Path) -> int:
    """Until TorchServe ends. Returns its status; a stop is asked for by an exception in this thread."""
    store = (settings.model_store or MODEL_STORE).resolve()
    served = endpoints(store)
    with guarded(settings, run_dir, settings.encoder_host) as management:
        config = torchserve.properties(settings, store, run_dir, served, management, host=settings.encoder_host)
        command = launching.program(torchserve.command(find_java(), config, settings, run_dir))
        process = subprocess.Popen(command, env=environment(settings, run_dir), cwd=run_dir, start_new_session=True)
        try:
            return process.wait()
        finally:
            _end(process, settings.stop_timeout)


def _end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Its workers end with it; what does not in time is killed."""
    started = family(process.pid)
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        pass
    finally:
        kill_all(process, started)


def main() -> int:
    """0 when it was told to stop, 1 when it can't start, TorchServe's status when that ended by itself."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    try:
        settings = EncoderSettings()
        configure_logging("encoder", json_lines=settings.log_json, level=settings.log_level)
        for line in unknown_names(EncoderSettings.model_fields):
            _log.warning(line)
        with tempfile.TemporaryDirectory(prefix="clipserve-") as run_dir:
            check_disk(Path(run_dir), "Set TMPDIR to another folder.")
            return serve(settings, Path(run_dir)) or 1
    except (StackStartError, ValidationError) as error:
        said = (
            str(error)
            if isinstance(error, StackStartError)
            else faults(error, lambda name: f"CLIPSERVE_{name.upper()}")
        )
        print(f"encoder: {said}", file=sys.stderr)
        return 1


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
