"""Checks of settings that both services make. Each raises ValueError that says what the setting takes.

`faults` writes what pydantic collects of them in one line.
"""

from __future__ import annotations

import argparse
import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic_core import ValidationError

from clip_core.old_names.taking import is_old, old_variables

_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")
_ADDRESS = re.compile(r"[!-~]+")
_NOT_IN_A_LINE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, broken UTF-8, line and paragraph separators
_MOST_LABEL = 63  # of a host's name between two dots
_MOST_NUMBER = 2**53
_MOST_SECONDS = 1e7  # about four months; event loops refuse much larger timers


def comma_separated(value: object) -> object:
    """`a, b` → (`a`, `b`), as lists are written in the environment; anything but a string is returned as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def bounded(value: object) -> object:
    """The value. Raises ValueError for numbers that timers, sockets or SQLite cannot hold, and for unprintable text."""
    if isinstance(value, float) and not abs(value) <= _MOST_SECONDS:
        raise ValueError(f"must be a number of at most {_MOST_SECONDS:.0f}")
    if isinstance(value, int) and abs(value) > _MOST_NUMBER:
        raise ValueError("is too large a number")
    if isinstance(value, str | Path):
        one_line(str(value))
    return value


def one_line(text: str) -> None:
    """Raises ValueError for what breaks a line of a log. Names may hold all else, such as U+00A0 or a joined emoji."""
    if any(unicodedata.category(each) in _NOT_IN_A_LINE for each in text):
        raise ValueError("must have no control characters")


def http_url(value: str) -> str:
    """The URL without a slash at its end. Raises ValueError unless it is an http or https address."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        good = False
    if not good or not _ADDRESS.fullmatch(value) or "?" in value or "#" in value:
        raise ValueError("must be an address that starts with http:// or https://, such as http://127.0.0.1:8080")
    return value.rstrip("/")


def _is_host(name: str) -> bool:
    """Whether a resolver would take it: no part is empty or longer than 63, but for a dot at the end."""
    return all(0 < len(part) <= _MOST_LABEL for part in name.removesuffix(".").split("."))


def header_value(value: str) -> str:
    """The value. Raises ValueError for what no HTTP header may carry, without saying the value: it may be a secret."""
    if not value.isascii() or not value.isprintable():
        raise ValueError("must be of printable ASCII characters, as a header carries it")
    return value


def host_names(value: Sequence[str], advice: str) -> None:
    """Raises ValueError, which ends with `advice`, for anything but host names, `*.name` and `*`."""
    for name in value:
        if not _HOST.fullmatch(name):
            raise ValueError(f"{name[:100]!r} is no host: {advice}")


def unknown_names(environ: Iterable[str], prefix: str, fields: Iterable[str]) -> list[str]:
    """A line on each variable that starts with `prefix` and names no field, with the name that it should have."""
    known = {f"{prefix}{name.upper()}" for name in fields}
    ours = sorted(name for name in environ if name.upper().startswith(prefix))
    strange = [name for name in ours if name.upper() not in known and not is_old(name)]
    guesses = [no_setting(name, difflib.get_close_matches(name.upper(), known, 1)) for name in strange]
    return [*old_variables(ours), *guesses]


def no_setting(name: str, meant: Sequence[str]) -> str:
    """The line on it; `meant`: the name that it should have, where one is near."""
    return f"{name} is no setting{f'; did you mean {meant[0]}?' if meant else ''}"


def take_no_options(module: str, prefix: str) -> None:
    """For `python -m module`: `--help` says where its settings are. Any other argument ends it with exit code 2."""
    settings = f"Settings are environment variables {prefix}…: docs/settings.md explains them."
    argparse.ArgumentParser(prog=f"python -m {module}", epilog=settings).parse_args()


def faults(error: ValidationError, named: Callable[[str], str]) -> str:
    """What is wrong with the settings, in one line; `named` writes a field as the user knows it."""
    return "; ".join(_fault(problem["loc"], problem["msg"], named) for problem in error.errors())


def _fault(place: tuple[int | str, ...], message: str, named: Callable[[str], str]) -> str:
    name = f"{named(str(place[0]))}: " if place else ""
    return name + " ".join(message.removeprefix("Value error, ").split())
