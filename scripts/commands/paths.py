"""Paths that callers name. An empty one, as an unset variable leaves, is refused: Path("") is the current folder."""

from __future__ import annotations

from pathlib import Path

import typer


def named_path(given: str) -> Path:
    """Raises BadParameter."""
    if not given:
        raise typer.BadParameter("it is empty: name a file or a folder; '.' is the current folder")
    return Path(given)


def existing_folder(given: str) -> Path:
    """Raises BadParameter, also for what is no folder."""
    if not (path := named_path(given)).is_dir():
        raise typer.BadParameter(f"{given} is no folder")
    return path
