"""`clipserve archive build`: model.yaml → staged files → torch-model-archiver → model_store/<endpoint>.mar."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clip_core.errors import BadModel
from clip_core.model_spec import (
    KINDS,
)
from scripts.archive.build_key import build_key
from scripts.archive.mar_files import built_with
from scripts.archive.model_source import LoadedSource, ModelSource, load
from scripts.archive.pack import pack
from scripts.archive.places import ARCHIVE_DIR, MODEL_STORE, models
from scripts.archive.work_folders import work_folder

if TYPE_CHECKING:  # torch is slow to import, and most of what is here does without
    from scripts.archive.tower_build import BuiltTowers, Judged

Report = Callable[[str], None]


def build(
    name: str,
    *,
    checkpoint: Path | None = None,
    model_store: Path = MODEL_STORE,
    prefix: str = "clip",
    precision: str | None = None,
    compile: bool | None = None,
    gate_images: Path | None = None,
    device: str | None = None,
    force: bool = False,
    report: Report = lambda _: None,
    show: Callable[[list[Judged], str], None] = lambda *_: None,
) -> list[Path]:
    """Build the three archives of `archive/<name>`; those that are whole and up to date stay. Raises BadModel.

    `precision`, `compile` and `device` override the model's own; `gate_images` are judged with instead of rendered
    scenes; `show` is given what `auto` compared and chose.
    """
    _check_prefix(prefix)
    directory, source = _source(name, checkpoint, precision, compile, device)
    key = build_key(directory, source)
    stale = KINDS if force else _stale(key, model_store, prefix)
    if stale:
        _make_folder(model_store)
        report(f"loading the weights of {name}")
        loaded = load(source)
        with work_folder(model_store, ".compiling-") as work:
            towers = _towers(source, loaded, gate_images, work, report, show)
            for kind in stale:
                report(f"packing {prefix}_{kind}.mar")
                pack(kind, f"{prefix}_{kind}", source, loaded, towers, directory, key, model_store)
    return [model_store / f"{prefix}_{kind}.mar" for kind in KINDS]


def _check_prefix(prefix: str) -> None:
    """As torch-model-archiver takes names, and short enough for a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", prefix):
        raise BadModel(f"a prefix is up to 100 letters, digits, `_`, `.` and `-`, and no path: {prefix!r}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadModel(f"the archives can't be written to {path}: {error.strerror}") from error


def _towers(
    source: ModelSource,
    loaded: LoadedSource,
    gate_images: Path | None,
    work: Path,
    report: Report,
    show: Callable[[list[Judged], str], None],
) -> BuiltTowers:
    """Both towers at the precision asked for, compiled if the model says so."""
    from scripts.archive.gate_set import GateSet
    from scripts.archive.precision_choice import choose
    from scripts.archive.tower_build import build_towers

    directory = work if source.compile else None
    gate = GateSet.from_directory(gate_images) if gate_images else GateSet.rendered()
    if source.precision != "auto":
        return build_towers(loaded, source.precision, gate, directory, report, source.device)
    towers, judged = choose(source, loaded, gate, directory, report)
    show(judged, towers.precision)
    return towers


def model_name(name: str, checkpoint: Path | None = None) -> str:
    """What answers call the model. Raises BadModel."""
    return _source(name, checkpoint)[1].name


def stale_archives(
    name: str,
    checkpoint: Path | None = None,
    model_store: Path = MODEL_STORE,
    prefix: str = "clip",
    precision: str | None = None,
) -> tuple[str, ...]:
    """The kinds whose .mar is missing, damaged, or made of anything but what is here now. Raises BadModel."""
    return _stale(build_key(*_source(name, checkpoint, precision)), model_store, prefix)


def _stale(key: str, model_store: Path, prefix: str) -> tuple[str, ...]:
    return tuple(kind for kind in KINDS if built_with(model_store / f"{prefix}_{kind}.mar") != key)


def _source(
    name: str,
    checkpoint: Path | None,
    precision: str | None = None,
    compile: bool | None = None,
    device: str | None = None,
) -> tuple[Path, ModelSource]:
    directory = ARCHIVE_DIR / name
    if not directory.is_dir():
        raise BadModel(f"archive/{name} does not exist; the models are {', '.join(models())}")
    return directory, ModelSource.read(directory, checkpoint, precision, compile, device)
