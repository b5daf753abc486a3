"""The page's own files, kept in memory: a page has dozens of them, and each is asked for at once."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

from clip_core.errors import NotFound
from gateway.inputs.files import inside


@dataclass(frozen=True)
class _Asset:
    """`stamp` is the file's size and time in nanoseconds when it was read."""

    file: Path
    stamp: tuple[int, int]
    content: bytes
    media_type: str
    tag: str


class Assets:
    """The files below `root`. One that was changed is read again."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[str, _Asset] = {}

    def answer(self, path: str, given: Headers) -> Response:
        """304 where the caller's copy is still the same. Raises NotFound."""
        asset = self._asset(path)
        headers = {"ETag": asset.tag}
        if asset.tag in [tag.strip().removeprefix("W/") for tag in given.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)

    def _asset(self, path: str) -> _Asset:
        known = self._read.get(path)
        if known is not None and _stamp(known.file) == known.stamp:
            return known
        asset = _read(inside(self._root, path))
        if str(asset.file) == f"{self._root.resolve()}/{path}":  # one name for each: what is kept stays bounded
            self._read[path] = asset
        return asset


def _read(file: Path) -> _Asset:
    stamp = _stamp(file)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise NotFound("there is no such file") from error
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return _Asset(file, stamp, content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _stamp(file: Path) -> tuple[int, int]:
    try:
        about = os.stat(file)
    except OSError:
        return 0, 0
    return about.st_size, about.st_mtime_ns
