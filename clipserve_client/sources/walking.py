"""The files of a folder of pictures, in a fixed order, however odd the folder is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISREG

from clipserve_client.sources.files import is_within
from clipserve_client.sources.spool import Spool

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
) | {".heic", ".heif", ".hif", ".avif"}
LISTING = "gallery.jsonl"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
Skipped = tuple[str, str]  # reason, message


@dataclass(frozen=True)
class Found:
    """`path` opens it; `name` is the path below the folder, as text for JSON; `skipped`: why it is left out."""

    path: str
    name: str
    skipped: str = ""
    message: str = ""


def readable(name: str) -> str:
    r"""A path with slashes; bytes that are not UTF-8, and what breaks a line or a terminal, are written as \xNN."""
    text = name.replace(os.sep, "/").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _UNPRINTABLE.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """What a caller wrote, for a terminal: no line is broken, and nothing is done to the terminal."""
    return readable(" ".join(text.split()))


class Walk:
    """Every picture below `root`, sorted by name, and what was left out. Hidden files and folders are passed over.

    Links are followed, with `within` only to places below it. A folder is entered once, by whatever way; its own name
    comes before links to it.
    """

    def __init__(self, root: str | os.PathLike[str], within: str | None = None) -> None:
        self._root, self._within = os.fspath(root), within
        self._names, self._folders = Spool(), Spool()
        self._links: list[str] = []
        todo = [""]
        while todo or self._links:
            if not todo:
                self._links.sort(reverse=True)
                todo.append(self._links.pop())
            todo += self._folder(todo.pop())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Found]:
        for name, value in self._names:
            below = os.fsdecode(name)
            reason, message = json.loads(value)
            if reason != "not a picture" or not self._is_about_pictures(below):
                yield Found(os.path.join(self._root, below), readable(below), *_shown(below, reason, message))

    def has(self, name: str) -> bool:
        return self._names.get(os.fsencode(name)) is not None

    def close(self) -> None:
        self._names.close()
        self._folders.close()

    def _folder(self, below: str) -> list[str]:
        """Its files are noted; the folders in it come back."""
        path = os.path.join(self._root, below) if below else self._root
        inside: list[str] = []
        try:
            about = os.stat(path)
            if not self._folders.add([(f"{about.st_dev} {about.st_ino}".encode(), "")]):
                return []
            with os.scandir(path) as entries:
                self._names.add(self._rows(below, entries, inside))
        except OSError as error:
            why = json.dumps(("unreadable folder", str(error.strerror)))
            self._names.add([(os.fsencode(below or "."), why)])
        return inside

    def _rows(self, below: str, entries: Iterator[os.DirEntry[str]], inside: list[str]) -> Iterator[tuple[bytes, str]]:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = os.path.join(below, entry.name)
            try:
                skipped = self._skipped(entry, name, inside)
            except OSError as error:
                skipped = "vanished or broken link", str(error.strerror)
            if skipped is not None:
                yield os.fsencode(name), json.dumps(skipped)

    def _skipped(self, entry: os.DirEntry[str], name: str, inside: list[str]) -> Skipped | None:
        """Why it is left out, or nothing of both. None for a folder, which is added to `inside`."""
        linked = entry.is_symlink()
        if linked and self._within is not None and not is_within(entry.path, self._within):
            return "link leads out of the folder", ""
        if entry.is_dir():
            (self._links if linked else inside).append(name)
            return None
        if not is_picture(entry.name):
            os.stat(entry.path)
            return "not a picture", ""
        return ("", "") if S_ISREG(entry.stat().st_mode) else ("not a file", "")

    def _is_about_pictures(self, below: str) -> bool:
        """A listing, or a sidecar of a picture in the same folder."""
        if os.path.basename(below) == LISTING:
            return True
        stem, suffix = os.path.splitext(below)
        if suffix.lower() not in (".json", ".txt"):
            return False
        start = os.fsencode(stem)
        beside = (name for name in self._names.between(start + b".", start + b"/") if is_picture(os.fsdecode(name)))
        return self.has(stem) or any(os.path.splitext(name)[0] == start for name in beside)


def _shown(below: str, reason: str, message: str) -> Skipped:
    if reason != "not a picture":
        return reason, message
    return f"not a picture ({readable(os.path.splitext(below)[1].lower()) or 'no suffix'})", message


def is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES
