"""What a setting must be, beyond its type. ValueError says what it takes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")
_ADDRESS = re.compile(r"[!-~]+")
_MOST_NUMBER = 2**53
_MOST_SECONDS = 1e7  # about four months; event loops refuse much larger timers


def bounded(value: object) -> object:
    """A number that timers, sockets and SQLite can hold."""
    if isinstance(value, float) and not abs(value) <= _MOST_SECONDS:
        raise ValueError(f"must be a number of at most {_MOST_SECONDS:.0f}")
    if isinstance(value, int) and abs(value) > _MOST_NUMBER:
        raise ValueError("is too large a number")
    if isinstance(value, str | Path) and not all(map(str.isprintable, str(value))):
        raise ValueError("must have no control characters")
    return value


def http_url(value: str) -> str:
    """Without a slash at its end."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not _ADDRESS.fullmatch(value) or "?" in value or "#" in value:
        raise ValueError("must be an address that starts with http:// or https://, such as http://127.0.0.1:8080")
    return value.rstrip("/")


def host_names(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _HOST.fullmatch(name):
            raise ValueError(f"{name[:100]!r} is no host: write a name alone, such as search.lan")
    return value


def folders(value: Mapping[str, Path], *, may_come_later: bool) -> None:
    for name, path in value.items():
        if not path.is_dir() and not (may_come_later and not path.exists()):
            raise ValueError(f"{name}={path}: there is no such folder")


def faults(error: ValidationError, named: Callable[[str], str]) -> str:
    """What is wrong with the settings, in one line; `named` writes a field as the user knows it."""
    return "; ".join(_fault(problem["loc"], problem["msg"], named) for problem in error.errors())


def _fault(place: tuple[int | str, ...], message: str, named: Callable[[str], str]) -> str:
    name = f"{named(str(place[0]))}: " if place else ""
    return name + " ".join(message.removeprefix("Value error, ").split())


def unknown_names(environ: Iterable[str], prefix: str, fields: Iterable[str]) -> list[str]:
    """A line on each variable with this prefix that is none of ours, with the nearest name that is."""
    known = {f"{prefix}{name.upper()}" for name in fields}
    strange = sorted(name for name in environ if name.upper().startswith(prefix) and name.upper() not in known)
    nearest = {name: difflib.get_close_matches(name.upper(), known, 1) for name in strange}
    return [f"{name} is no setting{f'; did you mean {near[0]}?' if near else ''}" for name, near in nearest.items()]
