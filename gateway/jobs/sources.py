"""A job's source as its caller names it → the source itself. Paths stay below allowed roots."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clip_core.errors import BadInput, InvalidRequest, NotFound, PathForbidden
from clipserve_client.sources.entries import Source, SourceError, SourceGone
from clipserve_client.sources.folder import Folder
from clipserve_client.sources.opening import Several
from clipserve_client.sources.parquet import ParquetRows, UnknownColumn
from clipserve_client.sources.url_list import UrlList, Urls
from clipserve_client.sources.webdataset import Webdataset

KINDS = ("folder", "webdataset", "parquet", "url_list", "urls")


class JobSources:
    """Opens sources below `roots`; pictures of more than `max_bytes` are not read."""

    def __init__(self, roots: Mapping[str, Path], max_bytes: int) -> None:
        self._roots, self._max_bytes = roots, max_bytes

    def check(self, source: Mapping[str, Any]) -> None:
        """Raises PathForbidden or NotFound about the path, InvalidRequest or BadInput about anything else."""
        kind = source_kind(source)
        if kind == "parquet":
            self.open(source, ()).close()
        elif kind != "urls":
            self._paths(kind, source[kind])

    def open(self, source: Mapping[str, Any], urls: Iterable[Mapping[str, Any]]) -> Source:
        """`urls` are those of the record. Raises as `check` does."""
        kind = source_kind(source)
        if kind == "urls":
            return Urls(urls, source.get("urls_total"))
        paths = self._paths(kind, source[kind])
        with told(source[kind], kind):
            opened = [self._opened(kind, path, source) for path in paths]
        return opened[0] if len(opened) == 1 else Several(opened)

    def folder(self, source: Mapping[str, Any]) -> Path | None:
        """That the files of its items lie in; None for other kinds of sources. Raises as `check` does."""
        return self._paths("folder", source["folder"])[0] if source_kind(source) == "folder" else None

    def shown(self, path: str) -> str:
        """`ROOT/path/below`, as callers name it; of a file that is below no root only its name."""
        for name, root in self._roots.items():
            with suppress(ValueError):
                return str(Path(name) / Path(path).relative_to(root.resolve()))
        return os.path.basename(path)

    def _opened(self, kind: str, path: Path, source: Mapping[str, Any]) -> Source:
        if kind == "folder":
            return Folder(path, most_bytes=self._max_bytes, confined=str(self._root_of(source[kind])))
        if kind == "webdataset":
            return Webdataset(path, most_bytes=self._max_bytes)
        if kind == "url_list":
            return UrlList(path)
        return ParquetRows(path, source.get("columns") or {}, most_bytes=self._max_bytes)

    def _paths(self, kind: str, name: str) -> list[Path]:
        if kind == "folder":
            path = allowed(name, self._roots)
            if not path.is_dir():
                raise NotFound(f"{name!r} is no folder", param="source.folder")
            return [path]
        return self._files(kind, name)

    def _files(self, kind: str, name: str) -> list[Path]:
        """The file, or those that a pattern such as `ROOT/shards/*.tar` matches, by name."""
        if glob.has_magic(name) and "/" in name.strip("/"):
            folder, _, pattern = name.strip("/").rpartition("/")
            below, root = allowed(folder, self._roots), self._root_of(name)
            names = sorted(glob.glob(pattern, root_dir=below))
            matching = (Path(os.path.realpath(below / each)) for each in names)
            if found := [path for path in matching if path.is_relative_to(root) and path.is_file()]:
                return found
        path = allowed(name, self._roots)
        if not path.is_file():
            raise NotFound(f"{name!r} is no file", param=f"source.{kind}")
        return [path]

    def _root_of(self, name: str) -> Path:
        return self._roots[name.strip("/").partition("/")[0]].resolve()


def source_kind(source: Mapping[str, Any]) -> str:
    """Raises InvalidRequest unless there is exactly one."""
    given = [kind for kind in KINDS if source.get(kind) is not None or (kind == "urls" and "urls_total" in source)]
    if len(given) != 1:
        raise InvalidRequest(f"give exactly one of {', '.join(KINDS)}", param="source")
    return given[0]


def allowed(name: str, roots: Mapping[str, Path]) -> Path:
    """`ROOT/path/below` → the path, links resolved. Raises PathForbidden for what is not below a root, or NotFound."""
    first, _, rest = name.strip("/").partition("/")
    root = roots.get(first)
    if root is None:
        known = ", ".join(sorted(roots)) or "none: set CLIPSERVE_GATEWAY_INGEST_ROOTS"
        raise PathForbidden(f"a path starts with one of the server's roots ({known})", param="source")
    try:
        root, path = root.resolve(), (root / rest).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise NotFound("there is no such path", param="source") from error
    if not path.is_relative_to(root):
        raise PathForbidden(f"this path leads out of the root {first!r}", param="source")
    if not os.path.exists(path):
        raise NotFound(f"there is nothing at {name!r}; if it is on a disk of its own, is that mounted?", param="source")
    return path


@contextmanager
def told(name: object, kind: str) -> Iterator[None]:
    """Errors of sources as errors of ours, which name the source as the caller did."""
    try:
        yield
    except SourceGone as error:
        raise NotFound(
            f"there is nothing at {name!r} any more: is its disk mounted?", param=f"source.{kind}"
        ) from error
    except UnknownColumn as error:
        role = "" if error.role is None else f".{error.role}"
        raise InvalidRequest(error.message, param=f"source.columns{role}") from error
    except SourceError as error:
        cause = error.__cause__ or error
        why = error.why or (isinstance(cause, OSError) and cause.strerror) or cause  # without the path
        raise BadInput(f"{name!r} can't be read to its end: {why}", param=f"source.{kind}") from error
