"""The fields that filters asked about, noted on disk: after a restart their columns are made before anyone asks again.

    <data_dir>/segments/<key>/fields.json   the fields of a collection that has segments, a list of strings

The file is a hint and no more: it is written aside and renamed, never during a search, and one that can't be read is as
good as none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import orjson

from index_service.collection.collection import Collection
from index_service.collection.registry import Registry
from index_service.segments.segment_files import segments_folder

_log = logging.getLogger("index_service.collection.warm_fields")
_FILE = "fields.json"
_LOOK_S = 0.1  # at whether the collections are loaded
_NOTE_S = 10.0


class WarmFields:
    """Of all collections of the `registry`. `start()` comes first, `close()` last and before the registry's."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._noted: dict[int, frozenset[str]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index-fields", daemon=True)

    def start(self) -> None:
        """In the background, once the collections are loaded: `recall`, then `note` now and then."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and note what is new."""
        self._stopped.set()
        self._thread.join()

    def recall(self) -> None:
        """Make the columns that were noted, bit by bit: half of the time is left to searches."""
        collections = self._registry.embedded()
        for collection in collections:  # all first: what is asked meanwhile is to be noted beside them
            keys = _read(self._path(collection))
            collection.view.rows.masks.expect(keys)
            self._noted[collection.info.key] = frozenset(keys)
        for collection in collections:
            while self._advanced(collection):
                pass

    def note(self) -> None:
        """Write down the fields of those collections where they are others than before."""
        for collection in self._registry.embedded():
            keys, key = frozenset(collection.view.rows.masks.keys), collection.info.key
            if keys != self._noted.get(key, frozenset()):
                with suppress(OSError):  # no segment yet, so few documents; or a full disk
                    _write(self._path(collection), keys)
                    self._noted[key] = keys

    def _run(self) -> None:
        while not self._registry.ready:
            if self._stopped.wait(_LOOK_S):
                return
        _try(self.recall)
        while not self._stopped.wait(_NOTE_S):
            _try(self.note)
        _try(self.note)

    def _advanced(self, collection: Collection) -> bool:
        """Whether there is more to do; a merge may give the collection other masks at any time."""
        view, started = collection.view, time.perf_counter()
        behind = view.rows.masks.advance(view.count)
        return behind and not self._stopped.wait(time.perf_counter() - started)

    def _path(self, collection: Collection) -> Path:
        return segments_folder(self._registry.store.path.parent, collection.info.key) / _FILE


def _try(step: Callable[[], None]) -> None:
    """One step that fails must not end the later ones."""
    try:
        step()
    except Exception:
        _log.exception("the fields of filters are not made or noted")


def _read(path: Path) -> list[str]:
    with suppress(OSError, ValueError):
        keys = orjson.loads(path.read_bytes())
        if isinstance(keys, list):
            return [key for key in keys if isinstance(key, str)]
    return []


def _write(path: Path, keys: frozenset[str]) -> None:
    aside = path.with_suffix(".new")
    aside.write_bytes(orjson.dumps(sorted(keys)))
    aside.replace(path)
