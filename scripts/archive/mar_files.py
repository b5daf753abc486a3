"""Reads built .mar files."""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from clip_core.errors import BadModel
from clip_core.model_spec import (
    SPEC_FILE,
    ModelSpec,
)
from scripts.archive.contents import unpack


def built_with(mar: Path) -> str | None:
    """The build key inside a whole .mar; None when it is missing, cut short or not ours."""
    spec = read_spec(mar)
    return spec.build_key if spec else None


def read_spec(mar: Path) -> ModelSpec | None:
    """The ModelSpec inside a .mar; None when the file is missing, damaged or not ours."""
    try:
        with zipfile.ZipFile(mar) as archive:
            if archive.testzip() is not None:
                return None
            return ModelSpec.parse(json.loads(archive.read(SPEC_FILE)))
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, BadModel):
        return None


def check_written(mar: Path, files: Mapping[str, Path]) -> None:
    """Raises BadModel unless the archive can be read and holds `files`, each under its name, byte for byte."""
    try:
        with zipfile.ZipFile(mar) as archive:
            wrong = [name for name, path in files.items() if not _is_copied(archive, name, path)]
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise BadModel(f"{mar.name} was not written whole ({error}): is the disk full?") from error
    if wrong:
        raise BadModel(f"{mar.name} was not written whole: {len(wrong)} files are wrong in it, such as {wrong[0]}")


def _is_copied(archive: zipfile.ZipFile, name: str, path: Path) -> bool:
    if name not in archive.namelist():
        return False
    with archive.open(name) as packed, path.open("rb") as original:
        return all(chunk == original.read(len(chunk) or 1) for chunk in _chunks(packed))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """To the empty one at the end."""
    chunk = b"first"
    while chunk:
        yield (chunk := file.read(1 << 20))


@contextlib.contextmanager
def unpacked(mar: Path) -> Iterator[Path]:
    """A .mar's files in a directory that goes away again. Raises BadModel when it is not whole."""
    with tempfile.TemporaryDirectory(prefix="clipserve-verify-") as temporary:
        unpack(mar, Path(temporary))
        yield Path(temporary)
