"""The report of an ingest: JSON lines, one for each file, written as results come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from clipserve_client.ingest.results import Result


class Report:
    """Lines of {"id", "outcome", "code", "message", "notes"}; what is empty is left out. None: no file."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", errors="backslashreplace")

    def write(self, result: Result) -> None:
        if self._file is not None:
            told = {"id": result.id, "outcome": result.outcome, "code": result.code, "message": result.message}
            line = {name: value for name, value in (told | {"notes": list(result.notes)}).items() if value}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
