"""Where a job's items come from: a folder, a webdataset tar, a Parquet file, or URLs. Paths stay below allowed roots.

Every source gives its entries in an order that does not change, so that a place in it means the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clip_core.errors import BadInput, ClipServeError, Forbidden, InvalidRequest, NotFound
from gateway.inputs.files import inside
from gateway.jobs.entries import SUFFIXES, Entry, EntrySource, Wanted, image_item, too_large
from gateway.jobs.parquet import ParquetFile
from gateway.jobs.webdataset import Webdataset

KINDS = ("folder", "webdataset", "parquet", "urls")


def open_source(source: Mapping[str, Any], roots: Mapping[str, Path], max_bytes: int) -> EntrySource:
    """Raises Forbidden or NotFound about the path, InvalidRequest about anything else."""
    kind = source_kind(source)
    if kind == "urls":
        return Urls(source["urls"])
    path = allowed(source[kind], roots)
    if kind == "folder":
        return Folder(path, max_bytes)
    if not path.is_file():
        raise NotFound(f"{source[kind]!r} is no file", param=f"source.{kind}")
    return Webdataset(path, max_bytes) if kind == "webdataset" else ParquetFile(path, source.get("columns") or {})


def source_kind(source: Mapping[str, Any]) -> str:
    """Raises InvalidRequest unless there is exactly one."""
    given = [kind for kind in KINDS if source.get(kind) is not None]
    if len(given) != 1:
        raise InvalidRequest(f"give exactly one of {', '.join(KINDS)}", param="source")
    return given[0]


def allowed(name: str, roots: Mapping[str, Path]) -> Path:
    """`ROOT/path/below` → the path, links resolved. Raises Forbidden for what is not below a root, or NotFound."""
    first, _, rest = name.strip("/").partition("/")
    root = roots.get(first)
    if root is None:
        known = ", ".join(sorted(roots)) or "none: set CLIPSERVE_GATEWAY_INGEST_ROOTS"
        raise Forbidden(f"a path starts with one of the server's roots ({known})", param="source")
    try:
        root, path = root.resolve(), (root / rest).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise NotFound("there is no such path", param="source") from error
    if not path.is_relative_to(root):
        raise Forbidden(f"this path leads out of the root {first!r}", param="source")
    if not path.exists():
        raise NotFound(f"there is nothing at {name!r}", param="source")
    return path


class Folder:
    """Every picture below a folder, by path; the id is the path below it."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        if not root.is_dir():
            raise NotFound("this is no folder", param="source.folder")
        self._root, self._max_bytes = root, max_bytes
        self._names = sorted(
            path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES
        )

    def count(self) -> int:
        return len(self._names)

    def entries(self, wanted: Wanted) -> Iterator[Entry]:
        for place, name in enumerate(self._names):
            if wanted(place):
                yield Entry(place, name, self._item(name))

    def _item(self, name: str) -> dict[str, Any] | ClipServeError:
        try:
            path = inside(self._root, name)
            if path.stat().st_size > self._max_bytes:
                return too_large(self._max_bytes)
            return image_item(name, path.read_bytes(), {"file": name})
        except (OSError, NotFound) as error:
            return BadInput(f"the file can't be read ({type(error).__name__})")


class Urls:
    """URLs, or objects with `url`, `id` and `metadata`; the gateway's fetcher gets them, if fetching is on."""

    def __init__(self, urls: list[Any]) -> None:
        self._urls: list[dict[str, Any]] = [{"url": entry} if isinstance(entry, str) else entry for entry in urls]

    def count(self) -> int:
        return len(self._urls)

    def entries(self, wanted: Wanted) -> Iterator[Entry]:
        for place, entry in enumerate(self._urls):
            if wanted(place):
                item_id = entry.get("id") or entry["url"][:512]
                metadata = {"url": entry["url"], **(entry.get("metadata") or {})}
                yield Entry(place, item_id, {"id": item_id, "image": entry["url"], "metadata": metadata})
