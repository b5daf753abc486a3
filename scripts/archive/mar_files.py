"""Reads built .mar files."""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

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


@contextlib.contextmanager
def unpacked(mar: Path) -> Iterator[Path]:
    """A .mar's files in a directory that goes away again. Raises BadModel when it is not whole."""
    with tempfile.TemporaryDirectory(prefix="clipserve-verify-") as temporary:
        unpack(mar, Path(temporary))
        yield Path(temporary)
