"""Bytes of files here and in buckets: what of one file's is a Skip, and what of the place's is Away."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from typing import Any

from clipserve_client.sources.entries import SourceError
from clipserve_client.sources.files import Skip
from scripts.bulk.reading.items import Bad, Raw
from scripts.bulk.reading.stores import Stores
from scripts.bulk.shards.errors import Away, why
from scripts.sync.bucket import is_url

THREADS = 16  # of pictures that are read from afar
_VANISHED, _UNREADABLE = "vanished", "unreadable"  # codes of `clipserve_client.sources.files`, too
_NO_ADDRESS = ("ValueError", "ParamValidationError")  # the last is botocore's, of what was not even asked for
_OF_ONE_OBJECT = ("", "403", "AccessDenied", "AllAccessDisabled")  # others are of credentials
_OF_DISKS = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENODEV, errno.EMFILE, errno.ENOMEM)
_MOST_IN_A_ROW = 20  # that can't be read: then the permission is gone, whatever the store calls it


def fetched_bytes(fs: Any, path: str) -> bytes:
    """Raises Skip for what is not there or archived, Away for a store that can't be reached."""
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError:
        raise Skip(_VANISHED) from None
    except PermissionError as error:
        if _s3_code(error) == "InvalidObjectState":  # and so may be all beside it, by one rule
            raise Skip("archived", why(error)) from error
        if _s3_code(error) in _OF_ONE_OBJECT:
            raise Skip(_UNREADABLE, why(error)) from error
        raise Away(f"{path} can't be read: {why(error)}") from error
    except Exception as error:  # each file system has errors of its own
        if type(error).__name__ in _NO_ADDRESS:
            raise Skip(_UNREADABLE, why(error)) from error
        raise Away(f"{path} can't be read: {why(error)}") from error
    if not content:
        raise Skip("empty file")
    return content


def _s3_code(error: BaseException) -> str:
    """ "" where another store failed, or nobody knows."""
    answer = getattr(error.__cause__, "response", None)
    return str((answer.get("Error") or {}).get("Code", "")) if isinstance(answer, dict) else ""


def until_refused(items: Iterable[Raw | Bad]) -> Iterator[Raw | Bad]:
    """Raises Away instead of setting all the rest of a shard aside, after an access that was taken away."""
    in_a_row = 0
    for item in items:
        fault = item if isinstance(item, Bad) else item.fault
        in_a_row = in_a_row + 1 if fault is not None and fault.code == _UNREADABLE else 0
        if in_a_row >= _MOST_IN_A_ROW:
            raise Away(f"{in_a_row} in a row can't be read, {item.id} the last of them")
        yield item


def unless_all_vanished(items: Iterable[Raw | Bad], path: str) -> Iterator[Raw | Bad]:
    """Raises SourceError at the end, where not one was there: a disk may be unmounted, and the next run looks again."""
    there = False
    for item in items:
        there = there or not (isinstance(item, Bad) and item.code == _VANISHED)
        yield item
    if not there:
        raise SourceError(f"nothing that was listed in {path} is there any more: is all of it mounted?", _VANISHED)


def is_the_disks(error: BaseException | None, *more: int) -> bool:
    """Whether a disk or a share failed, which may pass, rather than one file. `more`: other numbers that say so."""
    return isinstance(error, OSError) and error.errno in (*_OF_DISKS, *more)


def part_of_file(path: str, start: int, end: int, stores: Stores) -> bytes:
    """Bytes `start` to `end`; of a bucket's file only these are fetched. Raises SourceError, Away and OSError."""
    if not is_url(path):
        require_file(path)
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(end - start)
    fs, inside = stores.opened(path)
    try:
        content: bytes = fs.cat_file(inside, start=start, end=end) if end > start else b""
    except FileNotFoundError as error:
        raise SourceError(f"{path} is gone", _VANISHED) from error
    except Exception as error:  # each file system has errors of its own
        raise Away(f"{path} can't be read: {why(error)}") from error
    if len(content) > end - start:  # a web server that knows no ranges sends all of it
        content = content[start:end]
    if len(content) < end - start:
        raise Away(f"{path} changes or is cut off: {len(content):,} of {end - start:,} bytes came")
    return content


def require_file(path: str) -> None:
    """Raises SourceError. A named pipe would be waited for without end."""
    if not os.path.exists(path):
        raise SourceError(f"{path} is gone", _VANISHED)
    if not os.path.isfile(path):
        raise SourceError(f"{path} is no file")
