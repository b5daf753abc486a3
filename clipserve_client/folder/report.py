"""The report of an ingest: JSON lines, one for each file, written as results come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from clipserve_client.errors import ClientError
from clipserve_client.ingest.results import Result


class ReportFailed(ClientError):
    """The report's file can't be written."""


class Report:
    """Lines of {"id", "outcome", "code", "message", "notes"}; what is empty is left out. None: no file.

    Raises ReportFailed at once, or when the file can't be written any more.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._file = path, _opened(path)

    def write(self, result: Result) -> None:
        if self._file is None:
            return
        told = {"id": result.id, "outcome": result.outcome, "code": result.code, "message": result.message}
        line = {name: value for name, value in (told | {"notes": list(result.notes)}).items() if value}
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise _failed(self._path, error) from error

    def close(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:
            raise _failed(self._path, error) from error


def _opened(path: Path | None) -> IO[str] | None:
    try:
        if path is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: Path | None, error: OSError) -> ReportFailed:
    return ReportFailed(f"the report {path} can't be written: {error.strerror}")
