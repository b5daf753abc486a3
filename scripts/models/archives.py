"""The three archives of one model, as they are registered."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from clip_core.errors import BadModel
from clip_core.model_spec import ModelSpec
from gateway.models.rows import ModelRow
from scripts.archive.mar_files import read_spec
from scripts.models.row_store import DEFAULT_PREFIX, KINDS


def read(mar: Path) -> ModelSpec:
    """Raises BadModel."""
    spec = read_spec(mar)
    if spec is None:
        raise BadModel(f"{mar} is missing, damaged or no archive of ours; build it with `clipserve archive build`")
    return spec


def of_one_model(archives: Mapping[str, Path]) -> dict[str, ModelSpec]:
    """Endpoint → its spec. Raises BadModel when they are of different models."""
    specs = {endpoint: read(path) for endpoint, path in archives.items()}
    if len({spec.fingerprint for spec in specs.values()}) != 1:
        raise BadModel("the archives are of different models: their fingerprints differ")
    return specs


def found_in(folder: Path, row: ModelRow) -> dict[str, Path]:
    """Endpoint → its archive in a folder: one named after the endpoint, or one of the default's."""
    own = dict(zip(row.endpoints.all(), KINDS, strict=True))
    return {endpoint: _found(folder, endpoint, kind) for endpoint, kind in own.items()}


def _found(folder: Path, endpoint: str, kind: str) -> Path:
    own = folder / f"{endpoint}.mar"
    return own if own.exists() else folder / f"{DEFAULT_PREFIX}_{kind}.mar"


def put(archives: Mapping[str, Path], store: Path) -> None:
    """Into the store under their endpoints' names, each whole or not at all. Raises BadModel."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        for endpoint, source in archives.items():
            target = store / f"{endpoint}.mar"
            if source.resolve() != target.resolve():
                part = target.with_suffix(".part")
                shutil.copyfile(source, part)
                os.replace(part, target)
    except OSError as error:
        raise BadModel(f"the archives can't be written to {store}: {error.strerror}") from error
