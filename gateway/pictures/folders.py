"""Folders whose pictures are shown from where they lie: those of the settings, and those that were named since.

    <data_dir>/folders.json    {"photos": [{"prefix": "", "folder": "/home/me/Pictures"}]}
    <data_dir>/folders.token   what a caller who names a folder must know: only who may read the gateway's own files

Gateways that share their pictures have one `folders.json`, in `pictures_dir`; each reads it again when it changes.

A folder is named by a call, which could come from anywhere; reading the token shows that its sender could read the
folder's files without the gateway. Folders of jobs are below the ingest roots of the settings, and need no token.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from clip_core.errors import InvalidRequest, NotFound, NotLocal, StorageFull
from gateway.inputs.files import picture
from gateway.pictures.originals import Original, has_bytes

_log = logging.getLogger("gateway.pictures.folders")
_MOST = 64  # folders of a collection
_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")  # a byte that is not ASCII


class PictureFolder(NamedTuple):
    """The files of the items whose id begins with `prefix`."""

    prefix: str
    path: Path


class PictureFolders:
    """Methods may block. `fixed` are those of the settings, which come first and which nothing overwrites."""

    def __init__(self, data_dir: Path, fixed: Mapping[str, Path], shared: Path | None = None) -> None:
        self._registry = (shared or data_dir) / "folders.json"
        self._token_file = (data_dir / "folders.token").absolute()
        self._is_shared, self._version = shared is not None, -1
        self._fixed, self._lock = fixed, threading.Lock()
        self._named: dict[str, list[PictureFolder]] = {}
        self._token: str | None = None

    def load(self) -> None:
        """What was named before."""
        self._version = _version(self._registry)
        self._named = _read(self._registry)

    def token_file(self) -> Path | None:
        """Written when it is first asked for in this process; None where it can't be."""
        with self._lock:
            if self._token is None:
                self._write_token(secrets.token_urlsafe(32))
            return None if self._token is None else self._token_file

    def _write_token(self, token: str) -> None:
        try:
            self._token_file.parent.mkdir(parents=True, exist_ok=True)
            _replace(self._token_file, token)
        except OSError as error:
            _log.warning("no folder of pictures can be named: %s can't be written (%s)", self._token_file, error)
        else:
            self._token = token

    def of(self, collection: str) -> list[PictureFolder]:
        """The longest prefix first, and before the others the folder of the settings."""
        if self._is_shared and _version(self._registry) not in (self._version, 0):
            self.load()
        fixed = [PictureFolder("", self._fixed[collection])] if collection in self._fixed else []
        return sorted(fixed + self._named.get(collection, []), key=lambda each: -len(each.prefix))

    def find(self, collection: str, item_id: str, wanted: Original) -> Path | None:
        """The original, links resolved; None where no folder of the collection has it, and for what lies outside."""
        named = self._named_so(collection, item_id, wanted.path) if wanted.path is not None else ()
        return next((path for path in named if wanted.digest is None or has_bytes(path, wanted.digest)), None)

    def _named_so(self, collection: str, item_id: str, file: str) -> Iterator[Path]:
        for folder in self.of(collection):
            if item_id.startswith(folder.prefix):
                for name in dict.fromkeys((file, _on_disk(file))):
                    with suppress(NotFound):
                        yield picture(folder.path, name)

    def add(self, collection: str, prefix: str, folder: str, token: str) -> None:
        """Raises NotLocal, InvalidRequest or StorageFull."""
        if self._token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise NotLocal(f"naming a folder needs the content of the gateway's file {self._token_file.name}")
        path = Path(folder)
        if not path.is_absolute() or not os.path.isdir(folder):
            raise InvalidRequest("`folder` is the full path of a folder that the gateway can read", param="folder")
        self.show(collection, prefix, path)

    def show(self, collection: str, prefix: str, path: Path) -> None:
        """`add` for callers who checked that it may be shown. Raises InvalidRequest or StorageFull."""
        with self._alone():
            if PictureFolder(prefix, path) in self.of(collection):
                return
            folders = [*self._named.get(collection, []), PictureFolder(prefix, path)]
            if len(folders) > _MOST:
                raise InvalidRequest(f"a collection has at most {_MOST} folders", param="folder")
            self._save({**self._named, collection: folders})

    def forget(self, collection: str) -> None:
        """The collection was dropped: another one of its name must not show its pictures."""
        try:
            with self._alone():
                rest = {name: folders for name, folders in self._named.items() if name != collection}
                if rest != self._named:
                    self._named = rest
                    self._save(rest)
        except StorageFull as error:
            with self._lock:
                self._named = {name: folders for name, folders in self._named.items() if name != collection}
            _log.error(
                "a new collection %s would show pictures of the dropped one once the gateway has started again: %s",
                collection,
                error.message,
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Among this gateway's threads, and among gateways with one registry. Raises StorageFull."""
        with self._lock, ExitStack() as held:
            if self._is_shared:
                held.enter_context(_locked(self._registry.with_suffix(".lock")))
                self.load()
            yield

    def _save(self, named: dict[str, list[PictureFolder]]) -> None:
        written = {
            name: [{"prefix": each.prefix, "folder": str(each.path)} for each in folders]
            for name, folders in named.items()
        }
        try:
            self._registry.parent.mkdir(parents=True, exist_ok=True)
            _replace(self._registry, json.dumps(written, indent=1))
        except OSError as error:
            raise StorageFull(f"{self._registry} can't be written ({error.strerror})") from error
        self._version, self._named = _version(self._registry), named


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFull(f"{path} can't be written ({error.strerror})") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _version(path: Path) -> int:
    """Changes with every write; 0: there is none."""
    try:
        about = path.stat()
    except OSError:
        return 0
    return hash((about.st_ino, about.st_mtime_ns, about.st_size))


def _on_disk(file: str) -> str:
    r"""The name of a file whose bytes that are not UTF-8 were written as \xNN when it was ingested."""
    name = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), file.encode("utf-8", "surrogatepass"))
    return os.fsdecode(name)


def _read(path: Path) -> dict[str, list[PictureFolder]]:
    """Nothing where it is missing or damaged: folders can be named again."""
    try:
        told: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: [PictureFolder(each["prefix"], Path(each["folder"])) for each in folders]
            for name, folders in told.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s is not read (%s)", path, error)
        return {}


def _replace(path: Path, text: str) -> None:
    """Whole or not at all, and for the gateway's user only."""
    handle, part = tempfile.mkstemp(dir=path.parent)  # of mode 0600
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
