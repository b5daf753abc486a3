"""A folder's path or a bucket's address → what is followed, and how it is watched."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from clipserve_client.sources.entries import SourceError, SourceGone
from scripts.sync.bucket import Bucket, is_url
from scripts.sync.listed import Followed
from scripts.sync.local import LocalFolder, folder_state

_LOCAL = "file://"


def open_followed(source: str, options: Mapping[str, Any]) -> Followed:
    """Raises SourceError."""
    return Bucket(source, options) if _is_remote(source) else LocalFolder(_path(source))


def state_reader(source: str, options: Mapping[str, Any]) -> Callable[[], object]:
    """What changes when the source does; each call looks again. Raises SourceError."""

    def bucket() -> object:
        with closing(Bucket(source, options)) as listed:
            return listed.state()

    def folder() -> object:
        try:
            return folder_state(_path(source))
        except OSError as error:
            raise SourceGone(f"{source} can't be read: {error.strerror}") from error

    return bucket if _is_remote(source) else folder


def default_interval_s(source: str) -> float:
    """Between two looks at it: a listing of a bucket is paid for."""
    return 60.0 if _is_remote(source) else 2.0


def _is_remote(source: str) -> bool:
    return is_url(source) and not source.startswith(_LOCAL)


def _path(source: str) -> str:
    """Raises SourceError."""
    path = source.removeprefix(_LOCAL)
    if not path:
        raise SourceError("the source is empty: name a folder or an address such as s3://bucket/prefix")
    return os.path.abspath(path)
