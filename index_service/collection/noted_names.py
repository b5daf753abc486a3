"""Names that a store of another process had, noted on disk: a start that does not reach it makes none of them anew."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import orjson


class NotedNames:
    """The names that were there when they were read last, in a file that outlives the process; None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path, self.names = path, set[str]()
        with suppress(OSError, ValueError, TypeError):
            self.names = set() if path is None else set(orjson.loads(path.read_bytes()))

    def note(self, names: set[str]) -> None:
        """Whole or not at all; without room for it the earlier ones stay."""
        if names != self.names:
            self.names = names
            with suppress(OSError):
                if self._path is not None:
                    part = self._path.with_name(f"{self._path.name}.part")
                    part.write_bytes(orjson.dumps(sorted(names)))
                    part.replace(self._path)
