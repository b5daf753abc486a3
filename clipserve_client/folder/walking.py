"""The files of a folder of pictures, in a fixed order, however odd the folder is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISDIR, S_ISREG

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
) | {".heic", ".heif", ".hif", ".avif"}
LISTING = "gallery.jsonl"


@dataclass(frozen=True)
class Found:
    """`path` opens it; `name` is the path below the folder, as text for JSON; `skipped`: why it is left out."""

    path: str
    name: str
    skipped: str = ""
    message: str = ""


def readable(name: str) -> str:
    r"""A path with slashes; bytes that are not UTF-8 are written as \xNN."""
    return name.replace(os.sep, "/").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def walk(root: str | os.PathLike[str]) -> Iterator[Found]:
    """Every picture below `root`, sorted by name, and what was left out. Hidden files and folders are passed over.

    Links are followed; a folder that was seen before, by whatever way, is not entered again.
    """
    top = os.fspath(root)
    yield from _folder(top, "", set())


def _folder(path: str, below: str, seen: set[tuple[int, int]]) -> Iterator[Found]:
    try:
        about = os.stat(path)
        if (about.st_dev, about.st_ino) in seen:
            return
        seen.add((about.st_dev, about.st_ino))
        names = sorted(os.listdir(path))
    except OSError as error:
        yield Found(path, readable(below or "."), "unreadable folder", str(error.strerror))
        return
    for name in names:
        if not name.startswith("."):
            yield from _entry(os.path.join(path, name), os.path.join(below, name), set(names), seen)


def _entry(path: str, below: str, beside: set[str], seen: set[tuple[int, int]]) -> Iterator[Found]:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        yield Found(path, readable(below), "vanished or broken link", str(error.strerror))
        return
    if S_ISDIR(mode):
        yield from _folder(path, below, seen)
    elif os.path.splitext(path)[1].lower() not in SUFFIXES:
        if not _is_about_pictures(os.path.basename(path), beside):
            kind = readable(os.path.splitext(path)[1].lower())
            yield Found(path, readable(below), f"not a picture ({kind or 'no suffix'})")
    else:
        yield Found(path, readable(below), "" if S_ISREG(mode) else "not a file")


def _is_about_pictures(name: str, beside: set[str]) -> bool:
    """A listing, or a sidecar of a picture in the same folder."""
    stem, suffix = os.path.splitext(name)
    if name == LISTING:
        return True
    if suffix.lower() not in (".json", ".txt"):
        return False
    return stem in beside or any(os.path.splitext(each)[0] == stem and _is_picture(each) for each in beside)


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES
