"""A bucket, or any other place that fsspec reads: s3://, gs://, az://, memory:// and more."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import Loaded, SourceError, SourceGone
from clipserve_client.sources.files import MOST_BYTES, Skip, too_large
from clipserve_client.sources.sidecars import MOST_BYTES as MOST_TEXT
from clipserve_client.sources.sidecars import Listing, about_of, names_beside
from clipserve_client.sources.spool import Spool
from clipserve_client.sources.walking import LISTING, SUFFIXES
from scripts.sync.listed import Listed

_THREADS = 16
_MOST_FAILURES = 20  # reads in a row that fail: the bucket is away, rather than a picture damaged
_VERSIONS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created")
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
}
Json = dict[str, Any]


def is_url(source: str) -> bool:
    return "://" in source


class Bucket:
    """Listed once, when it is made. `options` go to fsspec's file system, such as {"anon": True}."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """Raises SourceError, also where the package for this kind of address is missing."""
        self.address, self.threads = url.rstrip("/"), _THREADS
        self._fs, self._root = opened(url, options or {})
        self._names, self._failures = Spool(), 0
        self._listing = self._listed()

    def entries(self) -> Iterator[Listed | Result]:
        for name, version in self._names:
            found = self._entry(name.decode(), version)
            if found is not None:
                yield found
        for file in self._listing.files():
            if self._names.get(file.encode()) is None:
                yield Result(file, "skipped", "listed, but not in the folder")
        for number, reason, file in self._listing.bad_lines():
            yield Result(f"{LISTING} line {number}", "skipped", reason, file)

    def state(self) -> object:
        """Changes when an object comes, goes or changes."""
        return hash(tuple(self._names))

    def beside(self, name: str) -> dict[str, str]:
        """ ".json" and ".txt" → the sidecars of a picture, where there are any."""
        return {kind: found for kind in (".json", ".txt") if (found := self._beside(name, kind)) is not None}

    def size(self, name: str) -> int:
        """Bytes; 0 for what is not there."""
        return int((self._names.get(name.encode()) or "0").partition(" ")[0])

    def close(self) -> None:
        self._names.close()
        self._listing.close()

    def _listed(self) -> Listing:
        with failures(self.address):
            found = self._fs.find(self._root, detail=True)
        prefix = self._root.rstrip("/") + "/"
        self._names.add(
            (path[len(prefix) :].encode("utf-8", "backslashreplace"), version_of(info))
            for path, info in found.items()
            if path.startswith(prefix) and not path.endswith("/")
        )
        with tempfile.TemporaryDirectory(prefix="clipserve-sync-") as folder:
            if self._names.get(LISTING.encode()) is not None:
                with failures(self.address):
                    self._fs.get_file(prefix + LISTING, os.path.join(folder, LISTING))
            return Listing(folder)

    def _entry(self, name: str, version: str) -> Listed | Result | None:
        if any(part.startswith(".") for part in name.split("/")) or name == LISTING:
            return None
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in SUFFIXES:
            return (
                None if self._is_sidecar(name) else Result(name, "skipped", f"not a picture ({suffix or 'no suffix'})")
            )
        beside = self.beside(name)
        row = self._listing.row(name)
        told = [version, *(self._names.get(each.encode()) for each in beside.values()), row]
        item_id = about_of(name, self._listing, lambda _: None).id
        return Listed(item_id, name, lambda: told, lambda: self._load(name, version, beside))

    def _beside(self, name: str, kind: str) -> str | None:
        return next((each for each in names_beside(name, kind) if self._names.get(each.encode()) is not None), None)

    def _is_sidecar(self, name: str) -> bool:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in (".json", ".txt"):
            return False
        start = stem.encode()
        beside = (each.decode() for each in self._names.between(start + b".", start + b"/"))
        return self._names.get(start) is not None or any(
            os.path.splitext(each)[1].lower() in SUFFIXES and os.path.splitext(each)[0] == stem for each in beside
        )

    def _load(self, name: str, version: str, beside: Mapping[str, str]) -> Loaded:
        """Raises Skip, and SourceError once nothing can be read any more."""
        size = int(version.partition(" ")[0])
        if size > MOST_BYTES:
            raise too_large(MOST_BYTES)
        content = self._read(name)
        if len(content) != size:
            raise Skip("changes while it is read", f"{len(content):,} of {size:,} bytes came")
        if not content:
            raise Skip("empty file")
        told = about_of(name, self._listing, self._sidecars(beside))
        return Loaded(content, metadata=told.metadata, notes=told.notes)

    def _sidecars(self, beside: Mapping[str, str]) -> Callable[[str], tuple[str, bytes | None] | None]:
        def read(kind: str) -> tuple[str, bytes | None] | None:
            if (name := beside.get(kind)) is None:
                return None
            return name, self._read(name) if self.size(name) <= MOST_TEXT else None

        return read

    def _read(self, name: str) -> bytes:
        try:
            content: bytes = self._fs.cat_file(f"{self._root.rstrip('/')}/{name}")
        except FileNotFoundError:
            raise Skip("vanished") from None
        except Exception as error:  # each file system has errors of its own
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                raise SourceError(f"{self.address} can't be read any more: {_why(error)}") from error
            raise Skip("unreadable", _why(error)) from error
        self._failures = 0
        return content


def opened(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """fsspec's file system, which remembers no listing, and the path there. Raises SourceError."""
    scheme = url.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url, **{"use_listings_cache": False, "skip_instance_cache": True, **options})  # type: ignore[no-any-return]
    except ImportError:
        needed = _EXTRAS.get(scheme, "fsspec")
        raise SourceError(f"{scheme}:// needs {needed}: pip install 'clipserve[sync]'") from None
    except Exception as error:
        raise SourceError(f"{url} can't be opened: {_why(error)}") from error


def fetched(url: str, options: Mapping[str, Any], folder: Path) -> Path:
    """A file of a bucket, copied into `folder` under its own name. Raises SourceError."""
    fs, path = opened(url, options)
    copy = folder / os.path.basename(path)
    with failures(url):
        fs.get_file(path, str(copy))
    return copy


class failures:
    """A file system's errors as SourceError."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise SourceGone(f"there is nothing at {self._address}") from error
        if isinstance(error, Exception):
            raise SourceError(f"{self._address} can't be read: {_why(error)}") from error


def version_of(info: Mapping[str, Any]) -> str:
    """Its size, and the best of what the store says of its content."""
    told = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return f"{int(info.get('size') or 0)} {told}"


def _why(error: Exception) -> str:
    return " ".join(f"{error}".split())[:300] or type(error).__name__
