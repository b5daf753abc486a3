"""`clipserve archive build`: a model → staged files → torch-model-archiver → model_store/<endpoint>.mar."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from clip_core.errors import BadModel
from clip_core.model_spec import CAPTION, KINDS
from scripts import costs
from scripts.archive.build_key import build_key
from scripts.archive.mar_files import built_with
from scripts.archive.model_source import ModelSource, load
from scripts.archive.pack import pack, stage, write_settings
from scripts.archive.places import MODEL_STORE, endpoint_config
from scripts.archive.resolver import Resolved, resolve
from scripts.archive.work_folders import work_folder
from scripts.progress import SILENT, WorkProgress

if TYPE_CHECKING:  # torch is slow to import, and most of what is here does without
    from scripts.archive.assembly.parts import LoadedSource
    from scripts.archive.gate_set import GateSet
    from scripts.archive.tower_build import BuiltTowers, Judged


def build(
    model: str,
    *,
    checkpoint: Path | None = None,
    model_store: Path = MODEL_STORE,
    prefix: str = "clip",
    gate_images: Path | None = None,
    quick: bool = False,
    force: bool = False,
    captions: bool = True,
    progress: WorkProgress = SILENT,
    show: Callable[[list[Judged], str], None] = lambda *_: None,
    **given: Any,
) -> list[Path]:
    """Build the archives of `model`, as `resolve` takes it: three, and a captioner's where the model has one and
    `captions` are wanted. Those that are whole and up to date stay.

    `given` overrides the model's own name, precision, compile, device, architecture and tokenizer; `quick` is fp32,
    not compiled. `gate_images` are judged with instead of rendered scenes; `show` is given what `auto` compared and
    chose. Raises BadModel.
    """
    _check_prefix(prefix)
    resolved = resolve(model, checkpoint, **given)
    resolved = quickly(resolved) if quick else resolved
    source, key = resolved.source, build_key(resolved)
    wanted = kinds_of(source, captions)
    for kind in wanted:
        endpoint_config(kind, resolved.directory)  # before weights are read for minutes
    stale = wanted if force else _stale(wanted, key, model_store, prefix)
    if stale:
        _make_folder(model_store)
        place = _Place(prefix, resolved.directory, model_store, key)
        loaded = _pack_towers(source, stale, place, gate_images, progress, show) if set(stale) & set(KINDS) else None
        if CAPTION in stale:
            _pack_captioner(source, loaded, place, progress)
    return [model_store / f"{prefix}_{kind}.mar" for kind in wanted]


def kinds_of(source: ModelSource, captions: bool = True) -> tuple[str, ...]:
    """Of the archives that a model has."""
    return (*KINDS, CAPTION) if captions and source.captioner else KINDS


def captions_of(model: str, checkpoint: Path | None = None, **given: Any) -> bool:
    """Whether it has a captioner. Raises BadModel."""
    return resolve(model, checkpoint, **given).source.captioner is not None


@dataclass(frozen=True)
class _Place:
    """Where the archives go; `directory` is the model's own, with settings of its endpoints."""

    prefix: str
    directory: Path | None
    model_store: Path
    key: str

    def pack(self, kind: str, progress: WorkProgress, stage: Callable[[Path], object]) -> None:
        endpoint = f"{self.prefix}_{kind}"
        with progress.step(f"packing {endpoint}.mar"):
            pack(kind, endpoint, self.directory, self.model_store, stage)


def _pack_towers(
    source: ModelSource,
    stale: tuple[str, ...],
    place: _Place,
    gate_images: Path | None,
    progress: WorkProgress,
    show: Callable[[list[Judged], str], None],
) -> LoadedSource:
    loaded = load(source, progress)
    parameters = sum(int(tensor.numel()) for tensor in loaded.model.state_dict().values())
    costs.check_disk(place.model_store, full_cost(source, parameters).disk_bytes)
    with work_folder(place.model_store, ".compiling-") as work:
        towers = _towers(source, loaded, gate_images, work, progress, show)
        for kind in (kind for kind in KINDS if kind in stale):
            staged = partial(stage, kind=kind, source=source, loaded=loaded, towers=towers, key=place.key)
            place.pack(kind, progress, staged)
    return loaded


def _pack_captioner(source: ModelSource, loaded: LoadedSource | None, place: _Place, progress: WorkProgress) -> None:
    from scripts.archive.captioner_staging import load_captioner, stage_captioner

    captioner = load_captioner(source, loaded, progress)
    place.pack(CAPTION, progress, lambda folder: stage_captioner(folder, source, captioner, place.key))


def stage_folder(model: str, kind: str, folder: str | Path, *, checkpoint: Path | None = None, **given: Any) -> None:
    """Write what torch-model-archiver takes: `files/`, `<kind>_handler.py` and `model-config.yaml`. Raises BadModel."""
    resolved = resolve(model, checkpoint, **given)
    if kind not in (known := kinds_of(resolved.source)):
        raise BadModel(f"kind is one of {', '.join(known)}, not {kind!r}")
    _make_folder(Path(folder))
    progress = WorkProgress(Console())
    if kind == CAPTION:
        from scripts.archive.captioner_staging import load_captioner, stage_captioner

        captioner = load_captioner(resolved.source, None, progress)
        stage_captioner(Path(folder) / "files", resolved.source, captioner, build_key(resolved))
        write_settings(Path(folder), kind, resolved.directory)
        return
    loaded = load(resolved.source, progress)
    with work_folder(Path(folder), ".compiling-") as work:
        towers = _towers(resolved.source, loaded, None, work, progress, lambda *_: None)
        stage(Path(folder) / "files", kind, resolved.source, loaded, towers, build_key(resolved))
    write_settings(Path(folder), kind, resolved.directory)


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
    progress: WorkProgress,
    show: Callable[[list[Judged], str], None],
) -> BuiltTowers:
    """Both towers at the precision asked for, compiled if the model says so."""
    from scripts.archive.precision_choice import check_floor, choose
    from scripts.archive.tower_build import build_towers

    directory = work if source.compile else None
    gate = _gate(source, gate_images)
    if source.precision != "auto":
        return build_towers(
            *(loaded, source.precision, gate, directory, progress, source.device),
            check=lambda towers: check_floor(towers, source, loaded),
        )
    towers, judged = choose(source, loaded, gate, directory, progress)
    show(judged, towers.precision)
    return towers


def model_name(model: str, checkpoint: Path | None = None, **given: Any) -> str:
    """What answers call the model. Raises BadModel."""
    return resolve(model, checkpoint, **given).source.name


def _gate(source: ModelSource, images: Path | None) -> GateSet:
    """Empty where nothing is compared and nothing calibrated: to render scenes takes seconds."""
    from scripts.archive.gate_set import GateSet

    if images:
        return GateSet.from_directory(images)
    return GateSet.rendered() if source.precision in ("auto", "int8-static") else GateSet([], [])


def quickly(resolved: Resolved) -> Resolved:
    """What takes seconds to build: the same vectors, more slowly."""
    return replace(resolved, source=replace(resolved.source, **_QUICK))


_QUICK: dict[str, Any] = {
    "precision": "fp32",
    "compile": False,
    "captioner_precision": "fp32",
    "captioner_compile": False,
}


def has_quick_form(model: str, checkpoint: Path | None = None, **given: Any) -> bool:
    """Whether quick archives are others than the model's own. Raises BadModel."""
    resolved = resolve(model, checkpoint, **given)
    return quickly(resolved) != resolved


def full_cost(source: ModelSource, parameters: int) -> costs.Cost:
    """Of building all three archives of it."""
    candidates = costs.CANDIDATES_ON_CPU if source.precision == "auto" else 1
    return costs.whole(parameters, candidates, source.compile)


Standing = Literal["whole", "quick", "stale"]


def standing(
    model: str,
    checkpoint: Path | None = None,
    model_store: Path = MODEL_STORE,
    prefix: str = "clip",
    captions: bool = True,
    **given: Any,
) -> Standing:
    """Whether all archives are as the model wants them, or built with `quick`, or neither. Raises BadModel."""
    resolved = resolve(model, checkpoint, **given)
    found = {built_with(model_store / f"{prefix}_{kind}.mar") for kind in kinds_of(resolved.source, captions)}
    if found == {build_key(resolved)}:
        return "whole"
    return "quick" if found == {build_key(quickly(resolved))} else "stale"


def _stale(kinds: tuple[str, ...], key: str, model_store: Path, prefix: str) -> tuple[str, ...]:
    return tuple(kind for kind in kinds if built_with(model_store / f"{prefix}_{kind}.mar") != key)
