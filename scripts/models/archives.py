"""The archives of one model, as they are registered: three, and a captioner's where it has one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from clip_core.errors import BadModel
from clip_core.model_spec import ModelSpec
from gateway.models.rows import ModelRow
from scripts.archive.mar_files import read_spec
from scripts.models.row_store import CAPTION, DEFAULT_PREFIX, by_kind


def read(mar: Path) -> ModelSpec:
    """Raises BadModel."""
    spec = read_spec(mar)
    if spec is None:
        raise BadModel(f"{mar} is missing, damaged or no archive of ours; build it with `clipserve archive build`")
    return spec


def of_one_model(archives: Mapping[str, Path]) -> dict[str, ModelSpec]:
    """Endpoint → its spec. Raises BadModel when they are of different models; a captioner has no vectors to compare."""
    specs = {endpoint: read(path) for endpoint, path in archives.items()}
    if len({spec.fingerprint for spec in specs.values() if spec.kind != CAPTION}) != 1:
        raise BadModel("the archives are of different models: their fingerprints differ")
    return specs


def found_in(folder: Path, row: ModelRow) -> dict[str, Path]:
    """Endpoint → its archive in a folder: one named after the endpoint, or one of the default's."""
    return {endpoint: _found(folder, endpoint, kind) for kind, endpoint in by_kind(row).items()}


def replacing_in(folder: Path, row: ModelRow, notice: Callable[[str], object]) -> dict[str, Path]:
    """As `found_in`, for what is served already: a captioner that nothing there replaces stays as it is."""
    found = found_in(folder, row)
    if row.caption and not found[row.caption].exists():
        notice(f"{row.caption} stays as it is: the new model has no captioner")
        del found[row.caption]
    return found


def holds_captioner(folder: Path, name: str) -> bool:
    """Whether a captioner's archive of the model of this name lies in a folder, or one of the default's."""
    return _found(folder, f"{name}_{CAPTION}", CAPTION).exists()


def given_in(folder: Path, row: ModelRow, notice: Callable[[str], object] = lambda _: None) -> dict[str, Path]:
    """As `replacing_in`, of a folder that a user named. Raises BadModel when it lacks one of the three."""
    found = replacing_in(folder, row, notice)
    lacking = [mar.name for mar in found.values() if not mar.exists()]
    if lacking:
        raise BadModel(f"--archives {folder} has no {', '.join(lacking)}: build them with `clipserve archive build`")
    return found


def check_store(store: Path, rows: Sequence[ModelRow]) -> None:
    """Raises BadModel for a folder without an archive of any model that the stack serves."""
    served = [each for each in rows if not each.torchserve_url]
    if served and not any(mar.exists() for each in served for mar in found_in(store, each).values()):
        names = ", ".join(each.name for each in served)
        raise not_the_store(store, f"no archive of {names} lies there")


def not_the_store(store: Path, why: str) -> BadModel:
    return BadModel(f"{store} is not this stack's model store ({why}): give the stack's --model-store")


@contextlib.contextmanager
def removed_on_failure(store: Path, row: ModelRow) -> Iterator[None]:
    """Archives of a model that were not in the store before leave it again when what is done meanwhile fails."""
    own = [store / f"{endpoint}.mar" for endpoint in by_kind(row).values()]
    new = [mar for mar in own if not mar.exists()]
    try:
        yield
    except BaseException:
        for mar in new:
            mar.unlink(missing_ok=True)
        raise


def _found(folder: Path, endpoint: str, kind: str) -> Path:
    own = folder / f"{endpoint}.mar"
    return own if own.exists() else folder / f"{DEFAULT_PREFIX}_{kind}.mar"


def put(archives: Mapping[str, Path], store: Path) -> None:
    """Into the store under their endpoints' names, each whole or not at all.

    Raises BadModel, before anything is copied when they are damaged or of different models.
    """
    of_one_model(archives)
    try:
        store.mkdir(parents=True, exist_ok=True)
        for endpoint, source in archives.items():
            target = store / f"{endpoint}.mar"
            if source.resolve() != target.resolve():
                _copy(source, target)
    except OSError as error:
        raise BadModel(f"the archives can't be written to {store}: {error.strerror}") from error


def _copy(source: Path, target: Path) -> None:
    part = target.with_suffix(".part")
    try:
        shutil.copyfile(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
