"""The file of the models that a stack serves, as `up` and `clipserve model` write it and the gateway reads it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from clip_core.errors import BadModel, Conflict
from gateway.models.rows import ModelRow, RowsError, check_rows, read_rows, rows_text

FILE = "models.json"
DEFAULT_PREFIX = "clip"
KINDS = ("text", "image", "multimodal")
CAPTION = "caption"


def row(name: str, *, default: bool = False, added: bool = False, captions: bool = False) -> ModelRow:
    """The default model keeps `clip_text` and so on; `captions`: it has a captioner, too.

    Raises BadModel for a name that no endpoint takes.
    """
    prefix = DEFAULT_PREFIX if default else name
    endpoints = {kind: f"{prefix}_{kind}" if prefix else "" for kind in (*KINDS, CAPTION)}
    if not captions:
        endpoints[CAPTION] = ""
    try:
        return ModelRow.model_validate({"name": name, "default": default, "added": added, **endpoints})
    except ValueError as error:
        raise BadModel(f"{name!r} can't name endpoints: a model's name is letters, digits, `_`, `.` and `-`") from error


def by_kind(row: ModelRow) -> dict[str, str]:
    """Kind of endpoint → its name, of all that the stack serves of a model."""
    found = dict(zip(KINDS, row.endpoints.all(), strict=True))
    return found | ({CAPTION: row.caption} if row.caption else {})


class RowStore:
    """Written whole or not at all; one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[ModelRow, ...]:
        """None without a file. Raises BadModel when it makes no sense."""
        if not self.path.exists():
            return ()
        try:
            return read_rows(self.path)
        except RowsError as error:
            raise BadModel(str(error)) from error

    def write(self, rows: Sequence[ModelRow]) -> None:
        """Raises BadModel for rows that the gateway would refuse."""
        try:
            check_rows(rows)
        except RowsError as error:
            raise BadModel(str(error)) from error
        part = self.path.with_name(f"{self.path.name}.part")
        part.write_text(rows_text(rows), encoding="utf-8")
        os.replace(part, self.path)

    def add(self, new: ModelRow) -> None:
        with self._alone():
            self.write([*self.read(), new])

    def remove(self, name: str) -> None:
        with self._alone():
            self.write([each for each in self.read() if each.name != name])

    def rename_default(self, name: str) -> None:
        """After another model took its endpoints, unless a row has the name. Without a file there is nothing to do."""
        if not self.path.exists():
            return
        with self._alone():
            rows = self.read()
            if name not in [each.name for each in rows]:
                self.write([each.model_copy(update={"name": name}) if each.default else each for each in rows])

    def find(self, name: str | None) -> ModelRow:
        """The default one without a name. Raises BadModel that names those that are served."""
        rows = self.read()
        found = next((each for each in rows if name in (None, each.name)), None)
        if found is None:
            names = ", ".join(each.name for each in rows) or "none"
            raise BadModel(f"{self.path} has no model {name!r}; served: {names}" if name else "no model is served")
        return found

    @contextlib.contextmanager
    def one_command(self, wait: bool = False) -> Iterator[None]:
        """For the whole of what changes the models that the stack serves. While another runs: wait, or Conflict."""
        with self._lock_file("command") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise Conflict(
                    "another `clipserve model` command is running for this stack: try again when it has ended"
                ) from None
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock_file("lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _lock_file(self, ending: str) -> Iterator[int]:
        """Raises BadModel when the folder is not there."""
        try:
            lock = os.open(self.path.with_name(f"{self.path.name}.{ending}"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BadModel(
                f"{self.path.parent} can't be written ({error.strerror}): give the stack's --data-dir"
            ) from error
        try:
            yield lock
        finally:
            os.close(lock)


def served_or_default(rows: RowStore, name: str | None) -> ModelRow:
    """The row of this name, or the default one: where a stack has no file of rows, that of `clip_text` and so on."""
    return row("", default=True) if name is None and not rows.path.exists() else rows.find(name)
