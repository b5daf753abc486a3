"""Files served from a folder, and never from outside of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clip_core.errors import NotFound

PICTURES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".avif", ".tif", ".tiff", ".ppm", ".pgm"}


def inside(root: Path, path: str) -> Path:
    """The regular file at `path` below `root`, links resolved. Raises NotFound, also for what lies outside."""
    missing = NotFound("there is no such file")
    try:
        root = root.resolve()
        file = (root / path).resolve()
        if file.is_relative_to(root) and file.is_file():
            return file
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte, a name too long, a loop of links
        raise missing from error
    raise missing


def picture(root: Path, path: str) -> Path:
    """As `inside`, for raster images only: an SVG or HTML file could carry a script."""
    file = inside(root, path)
    if file.suffix.lower() not in PICTURES:
        raise NotFound("there is no such picture")
    return file


def first_picture(roots: Sequence[Path], path: str) -> Path:
    """`picture` below the first of these roots that has it. Raises NotFound."""
    for root in roots:
        with suppress(NotFound):
            return picture(root, path)
    raise NotFound("there is no such picture")
