"""One file of the hub → the local cache: resumed where it broke off, checked against its digest before it counts."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from clip_core.errors import BadModel
from scripts.hub.digests import has_digest
from scripts.hub.refusals import first_line, refused
from scripts.hub.snapshots import HubFile, HubName, Snapshot, cache_folder
from scripts.progress import SILENT, Step, WorkProgress

_WORTH_SHOWING = 1_000_000  # bytes


class DownloadStopped(KeyboardInterrupt):
    """Ctrl-C while a file was on its way; the message says where it goes on."""


def cached_path(given: Snapshot, file: HubFile) -> Path:
    """Where the cache shows the file, once it is there."""
    return cache_folder(given.name) / "snapshots" / given.commit / file.name


def checked_file(given: Snapshot, file: HubFile, progress: WorkProgress) -> Path:
    """The file in the cache, downloaded if it is not there. Raises BadModel, DownloadStopped."""
    path, blob = cached_path(given, file), _blob(given, file)
    if path.exists() or blob.exists():
        _check(path if path.exists() else blob, given.name, file)
    else:
        _download(given, file, progress)
    if not path.exists():
        _show(path, blob)
    return path


def check_room(given: Snapshot, files: Sequence[HubFile]) -> None:
    """Raises BadModel when the disk of the cache has no room for what is still to come."""
    missing = sum(file.size - _started(given, file) for file in files if not cached_path(given, file).exists())
    folder = cache_folder(given.name)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if missing > free:
        raise BadModel(
            f"{given.name} takes {missing / 1e6:,.0f} MB, and {existing} has {free / 1e6:,.0f} MB free: "
            "make room, or set HF_HOME to a folder on another disk"
        )


def _check(path: Path, name: HubName, file: HubFile) -> None:
    """Raises BadModel for a file that is not what the hub has."""
    if file.digest is None or has_digest(path, file.digest):
        return
    real = path.resolve()
    raise BadModel(
        f"{file.name} of {name} is damaged: {real} does not have the digest {file.digest[:12]}… that the hub gives; "
        f"fetch it anew with `rm '{real}'` and the same command"
    )


def _blob(given: Snapshot, file: HubFile) -> Path:
    return cache_folder(given.name) / "blobs" / str(file.digest)


def _show(path: Path, blob: Path) -> None:
    """As huggingface_hub does: a relative link from the snapshot to the blob. Another process may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    part.symlink_to(os.path.relpath(blob, path.parent))
    os.replace(part, path)  # perhaps a link to a blob that was removed


def _download(given: Snapshot, file: HubFile, progress: WorkProgress) -> None:
    if given.cached or file.digest is None:
        raise BadModel(f"{file.name} of {given.name} is not in the local cache, and the hub does not offer it")
    try:
        _into_the_cache(given, file, progress)
    except BadModel:
        raise
    except Exception as error:  # huggingface_hub and its HTTP client raise many kinds
        raise _broken_off(error, given, file) from error


def _into_the_cache(given: Snapshot, file: HubFile, progress: WorkProgress) -> None:
    """Into a part that outlives this process, and from there under the name of its digest."""
    blob = _blob(given, file)
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _part(given, file) as part:
        if blob.exists():  # another process was faster
            return
        resumed = _started(given, file)
        _transfer(given, file, part, progress)
        if resumed and not _is_whole(part, file):
            part.truncate(0)
            _transfer(given, file, part, progress)
        if not _is_whole(part, file):
            Path(part.name).unlink()
            raise BadModel(f"{file.name} of {given.name} arrived with another digest than the hub gives: try again")
        os.replace(part.name, blob)


def _is_whole(part: IO[bytes], file: HubFile) -> bool:
    return has_digest(Path(part.name), str(file.digest))


def _part_path(given: Snapshot, file: HubFile) -> Path:
    return _blob(given, file).with_suffix(".clipserve.incomplete")


def _started(given: Snapshot, file: HubFile) -> int:
    """Bytes of the file that an earlier try has left."""
    try:
        return min(file.size, _part_path(given, file).stat().st_size)
    except OSError:
        return 0


@contextlib.contextmanager
def _part(given: Snapshot, file: HubFile) -> Iterator[IO[bytes]]:
    """Locked: a second process waits for the first. Unbuffered, so that what arrived is on disk when it is killed."""
    with _part_path(given, file).open("ab", buffering=0) as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        if part.tell() > file.size:
            part.truncate(0)
        yield part


def _transfer(given: Snapshot, file: HubFile, part: IO[bytes], progress: WorkProgress) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # our lines say how it goes
    have = part.seek(0, os.SEEK_END)
    title = f"downloading {file.name} of {given.name}" + (f", from {have / 1e6:.1f} MB on" if have else "")
    shown = progress if file.size >= _WORTH_SHOWING else SILENT
    with shown.step(title, total=file.size) as step:
        step.resume(have)
        try:
            http_get(
                hf_hub_url(given.name.repository, file.name, revision=given.commit),
                part,  # type: ignore[arg-type]
                resume_size=have,
                headers=build_hf_headers() | {"Accept-Encoding": "identity"},
                expected_size=file.size,
                tqdm_class=_bar_of(step),
            )
        except KeyboardInterrupt as error:
            raise DownloadStopped(
                f"stopped at {step.done / 1e6:.1f} of {file.size / 1e6:.1f} MB; the same command goes on from there"
            ) from error


def _bar_of(step: Step) -> Any:
    """As much of tqdm as `http_get` needs, in front of `step`."""

    class StepBar:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def update(self, n: float = 1) -> None:
            step.advance(int(n))

        def __enter__(self) -> StepBar:
            return self

        def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
            pass

    return StepBar


def _broken_off(error: Exception, given: Snapshot, file: HubFile) -> BadModel:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return BadModel(f"the disk of {cache_folder(given.name)} is full: make room, then the same command goes on")
    if getattr(error, "response", None) is not None:
        return refused(error, given.name.repository, given.name.revision)
    have = _started(given, file)
    return BadModel(
        f"the download of {file.name} of {given.name} broke off at {have / 1e6:.1f} of {file.size / 1e6:.1f} MB "
        f"({first_line(error)}); the same command goes on from there"
    )
