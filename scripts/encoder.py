"""`python -m scripts.encoder`: TorchServe alone, in the foreground, as a container runs it.

It serves every archive of the model store. Its management API is behind the same guard as with `clipserve up`.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pydantic import Field, ValidationError

from clip_core.errors import BadModel
from clip_core.logs import configure_logging
from clip_core.old_names.taking import as_given
from clip_core.secret_files import unread_files
from clip_core.setting_checks import faults
from clip_core.settings import PREFIX as HANDLERS
from scripts.archive.contents import MANIFEST, unpack
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
    token_dir: Path | None = Field(
        None, description="with token_authorization: folder for key_file.json, which its gateways read"
    )


def endpoints(store: Path) -> dict[str, Path]:
    """Name → its .mar in the store, or the folder that holds it unpacked.

    Copies that a swap has left there, ENDPOINT-VERSION.mar, are none. Raises StackStartError when there is none, or one
    is there in both forms.
    """
    mars = {path.stem: path for path in sorted(store.glob("*.mar"))}
    mars = {name: path for name, path in mars.items() if _VERSION.sub("", name) not in mars.keys() - {name}}
    folders = {path.parents[1].name: path.parents[1] for path in sorted(store.glob(f"[!.]*/{MANIFEST}"))}
    if twice := sorted(mars.keys() & folders.keys()):
        raise StackStartError(f"{store} holds {', '.join(twice)} twice, packed and as a folder: take one of them away")
    if not (found := mars | folders):
        raise StackStartError(
            f"there is no archive (.mar) in {store}: mount a folder that "
            "`clipserve archive build MODEL --model-store DIR` has filled"
        )
    return found


def unpacked(found: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """What `endpoints` gives → name → what TorchServe loads. It would unpack one archive after the other.

    A folder is served where it lies. Raises StackStartError without room for the others, BadModel for a damaged one.
    """
    mars = {name: path for name, path in found.items() if path.is_file()}
    needed, free = sum(path.stat().st_size for path in mars.values()), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise StackStartError(
            f"the archives take {needed / 1e6:.0f} MB, and {folder.parent} has {free / 1e6:.0f} MB left: "
            "give it more, or set TMPDIR to another folder"
        )
    with ThreadPoolExecutor() as pool:
        list(pool.map(unpack, mars.values(), [folder / name for name in mars]))
    return {name: str(folder / name) if name in mars else name for name in found}


def environment(settings: EncoderSettings, run_dir: Path) -> Mapping[str, str]:
    """What the process was given wins, such as where the index service is."""
    return {**torchserve.environment(settings, run_dir, run_dir), **os.environ}


def serve(settings: EncoderSettings, run_dir: Path) -> int:
    """Until TorchServe ends. Returns its status; a stop is asked for by an exception in this thread."""
    store = (settings.model_store or MODEL_STORE).resolve()
    tokens = _token_dir(settings)
    served = unpacked(endpoints(store), run_dir / "archives")
    with guarded(settings, run_dir, settings.encoder_host, tokens) as management:
        config = torchserve.properties(settings, store, run_dir, served, management, host=settings.encoder_host)
        command = launching.program(torchserve.command(find_java(), config, settings, run_dir, tokens))
        process = subprocess.Popen(command, env=environment(settings, run_dir), cwd=run_dir, start_new_session=True)
        try:
            return process.wait()
        finally:
            _end(process, settings.stop_timeout)


def _token_dir(settings: EncoderSettings) -> Path | None:
    """None where no tokens are asked for. Raises StackStartError: nobody could read them from this run's own folder."""
    if not settings.token_authorization:
        return None
    if settings.token_dir is None or not settings.token_dir.is_dir():
        raise StackStartError(
            "CLIPSERVE_TOKEN_AUTHORIZATION needs CLIPSERVE_TOKEN_DIR: a folder for key_file.json that gateways can read"
        )
    return settings.token_dir.resolve()


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
        for line in (*unknown_names(EncoderSettings.model_fields), *unread_files(HANDLERS)):
            _log.warning(line)
        with tempfile.TemporaryDirectory(prefix="clipserve-") as run_dir:
            check_disk(Path(run_dir), "Set TMPDIR to another folder.")
            return serve(settings, Path(run_dir)) or 1
    except (StackStartError, BadModel, ValidationError) as error:
        said = (
            faults(error, lambda name: as_given(f"CLIPSERVE_{name.upper()}", os.environ))
            if isinstance(error, ValidationError)
            else str(error)
        )
        print(f"encoder: {said}", file=sys.stderr)
        return 1


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
