"""Files of models for tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gateway.models.rows import ModelRow, rows_text

DEMO = {"name": "demo", "text": "clip_text", "image": "clip_image", "multimodal": "clip_multimodal", "default": True}
OTHER = {"name": "other"}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    """In one step, as `clipserve model add` does it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(rows_text(tuple(map(ModelRow.model_validate, rows))), encoding="utf-8")
    os.replace(part, path)
    return path
