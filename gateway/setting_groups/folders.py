"""Folders that settings name. Raises ValueError that says what the setting takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def folders(value: Mapping[str, Path], *, may_come_later: bool) -> None:
    for name, path in value.items():
        if not path.is_dir() and not (may_come_later and not path.exists()):
            raise ValueError(f"{name}={path}: there is no such folder")
