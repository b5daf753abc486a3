"""Where models and archives lie, and the settings of their endpoints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_IN_CHECKOUT = (ROOT / "archive" / "common").is_dir()
DATA = ROOT if _IN_CHECKOUT else Path(sys.prefix) / "share" / "clipserve"  # where a wheel puts it
ARCHIVE_DIR = DATA / "archive"
MODEL_STORE = ROOT / "model_store" if _IN_CHECKOUT else Path("model_store")


def models() -> list[str]:
    """The models that have a spec under archive/."""
    return sorted(path.parent.name for path in ARCHIVE_DIR.glob("*/model.yaml"))


def endpoint_config(kind: str, directory: Path | None) -> dict[str, Any]:
    """archive/common/<kind>.yaml with the model's own keys over it, where it has a folder."""
    merged: dict[str, Any] = {}
    for path in (folder / f"{kind}.yaml" for folder in (ARCHIVE_DIR / "common", directory) if folder):
        if path.exists():
            merged |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return merged
