"""Checks of the gateway's own settings. Each raises ValueError that says what the setting takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"[!-~]+")


def http_url(value: str) -> str:
    """The URL without a slash at its end. Raises ValueError unless it is an http or https address."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not _ADDRESS.fullmatch(value) or "?" in value or "#" in value:
        raise ValueError("must be an address that starts with http:// or https://, such as http://127.0.0.1:8080")
    return value.rstrip("/")


def folders(value: Mapping[str, Path], *, may_come_later: bool) -> None:
    for name, path in value.items():
        if not path.is_dir() and not (may_come_later and not path.exists()):
            raise ValueError(f"{name}={path}: there is no such folder")
