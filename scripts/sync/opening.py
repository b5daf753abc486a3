"""A folder's path or a bucket's address → what is followed, and how it is watched."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from clipserve_client.sources.entries import SourceError, SourceGone
from clipserve_client.sources.files import Skip, stamp
from scripts.sync.bucket import Bucket, failures, is_url, opened, version_of
from scripts.sync.listed import Followed
from scripts.sync.local import LocalFolder, folder_state

_LOCAL = "file://"


def open_followed(source: str, options: Mapping[str, Any]) -> Followed:
    """Raises SourceError."""
    return Bucket(source, options) if _is_remote(source) else LocalFolder(_path(source))


def state_reader(source: str, options: Mapping[str, Any], manifest: str | None = None) -> Callable[[], object]:
    """What changes when the source or its manifest does; each call looks again. Raises SourceError."""

    def bucket() -> object:
        with closing(Bucket(source, options)) as listed:
            return listed.state()

    def folder() -> object:
        try:
            return folder_state(_path(source))
        except OSError as error:
            raise SourceGone(f"{source} can't be read: {error.strerror}") from error

    look = bucket if _is_remote(source) else folder
    return look if manifest is None else lambda: (look(), _version(manifest, options))


def _version(file: str, options: Mapping[str, Any]) -> str:
    """Raises SourceError."""
    if is_url(file):
        fs, path = opened(file, options)
        with failures(file):
            return version_of(fs.info(path))
    try:
        return str(stamp(file))
    except Skip as skip:
        raise SourceGone(f"{file} can't be read: {skip.message or skip.reason}") from skip


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
