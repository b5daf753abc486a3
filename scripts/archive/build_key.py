"""The digest that tells whether an archive is up to date."""

from __future__ import annotations

from pathlib import Path

from clip_core.model_spec import (
    digest,
)
from scripts.archive.model_source import ModelSource
from scripts.archive.places import ARCHIVE_DIR, ROOT


def build_key(directory: Path, source: ModelSource) -> str:
    """A digest of everything that goes in: our code, the settings, the weights' files."""
    files = [
        *code_files(),
        *sorted((ROOT / "handlers").glob("*.py")),
        *sorted((ARCHIVE_DIR / "common").glob("*.yaml")),
    ]
    files += sorted(directory.glob("*.yaml"))
    if source.checkpoint:
        files += sorted(path for path in Path(source.checkpoint).iterdir() if path.is_file())
    parts = [part for path in files for part in (_name(path).encode(), path.read_bytes())]
    return digest(repr(source).replace(str(source.checkpoint), "").encode(), *parts)[:16]


def _name(path: Path) -> str:
    """The same in every checkout."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT / "clip_core") else path.name


def code_files() -> list[Path]:
    return sorted((ROOT / "clip_core").rglob("*.py"))
