"""URLs of pictures, which the gateway fetches: a text file, one a line, or a list that a caller gave."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from clipserve_client.ingest.results import Result
from clipserve_client.sources.entries import Entries, Entry, Loaded, SourceError
from clipserve_client.sources.files import lines
from clipserve_client.sources.json_values import carried, is_text, read_object

_LONGEST_ID = 512
_LONGEST_LINE = 64 * 1024  # bytes


def url_id(url: str) -> str:
    """The URL itself, or its beginning and a digest: two long URLs never share an id."""
    if len(url) <= _LONGEST_ID:
        return url
    return f"{url[: _LONGEST_ID - 65]}#{hashlib.sha256(url.encode('utf-8', 'backslashreplace')).hexdigest()}"


class Urls:
    """{"url", "id", "metadata"} of each; only `url` is needed."""

    def __init__(self, told: Iterable[Mapping[str, Any]], total: int | None) -> None:
        self._told, self._total = told, total

    def count(self) -> int | None:
        return self._total

    def close(self) -> None:
        """Nothing is open."""

    def entries(self) -> Entries:
        return (url_entry(each, b"") for each in self._told)


def url_entry(told: Mapping[str, Any], path: bytes) -> Entry:
    url, given = str(told["url"]), told.get("metadata")
    metadata, notes = carried({"url": url, **(given if isinstance(given, dict) else {})})
    named = told.get("id")
    loaded = Loaded(url=url, metadata=metadata, notes=notes)
    return Entry(str(named) if named else url_id(url), path, lambda: loaded, about=metadata, named=False)


class UrlList:
    """A text file: a line is a URL, or a JSON object as `Urls` takes it. Empty lines and those with # are left out."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)

    def count(self) -> None:
        return

    def close(self) -> None:
        """The file is closed with its iterator."""

    def entries(self) -> Entries:
        """Raises SourceError."""
        path = os.fsencode(os.path.abspath(self._path))
        try:
            with open(self._path, "rb") as file:
                for number, line in enumerate(lines(file, _LONGEST_LINE), 1):
                    text = line.decode("utf-8-sig", "backslashreplace").strip()
                    if text and not text.startswith("#"):
                        yield _of_line(text, number, path)
        except OSError as error:
            raise SourceError(f"{self._path} can't be read: {error.strerror}") from error


def _of_line(text: str, number: int, path: bytes) -> Entry | Result:
    told: Mapping[str, Any] = (read_object(text) or {}) if text.startswith("{") else {"url": text}
    url = told.get("url")
    if not isinstance(url, str) or not is_text(url) or not url.lower().startswith(("http://", "https://")):
        return Result(f"line {number}", "skipped", "not a URL", text[:200])
    if isinstance(told.get("id"), str | None) and is_text(told.get("id") or ""):
        return url_entry(told, path)
    return Result(f"line {number}", "skipped", "not an id", "`id` is a text")
