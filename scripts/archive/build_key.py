"""The digest that tells whether an archive is up to date."""

from __future__ import annotations

from pathlib import Path

from clip_core.errors import BadModel
from clip_core.model_spec import digest
from scripts.archive.model_source import OWN
from scripts.archive.places import ARCHIVE_DIR, ROOT
from scripts.archive.resolver import Resolved
from scripts.hub.digests import sha256_of

_PATHS = ("checkpoint", "tokenizer", "architecture", "captioner")


def build_key(resolved: Resolved) -> str:
    """A digest of everything that goes in: our code, the settings, the weights' files. Raises BadModel."""
    files = [
        *code_files(),
        *sorted((ROOT / "handlers").glob("*.py")),
        *sorted((ARCHIVE_DIR / "common").glob("*.yaml")),
    ]
    files += sorted(resolved.directory.glob("*.yaml")) if resolved.directory else []
    given, settings = [], repr(resolved.source)
    for value in (getattr(resolved.source, key) for key in _PATHS):
        if value and value != OWN and Path(value).exists():
            given += _files(Path(value))
            settings = settings.replace(value, "")
    parts = [part for path in (*files, *given) for part in (_name(path).encode(), _digest(path))]
    return digest(settings.encode(), *parts)[:16]


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]


def _digest(path: Path) -> bytes:
    """A file of weights is larger than what a process should hold."""
    try:
        return bytes.fromhex(sha256_of(path))
    except OSError as error:
        raise BadModel(f"{path} can't be read: {error.strerror}") from error


def _name(path: Path) -> str:
    """The same in every checkout."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT / "clip_core") else path.name


def code_files() -> list[Path]:
    return sorted((ROOT / "clip_core").rglob("*.py"))
