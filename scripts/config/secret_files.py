"""Secrets of a configuration lie in files of their own: the configuration names the files."""

from __future__ import annotations

import stat
from pathlib import Path

from scripts.config.keys import Key
from scripts.config.yaml_file import ConfigError

_MOST_BYTES = 64 * 1024
_SEVERAL = "api_keys_file"


def read_secret(where: str, key: Key, path: Path) -> str:
    """Its one line; of API keys a line each, joined by commas. Raises ConfigError, which never shows what is there."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_BYTES).decode().split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError(f"{where}: {key}: that file can't be read: {reason}") from error
    if not lines or (len(lines) > 1 and key.name != _SEVERAL):
        raise ConfigError(f"{where}: {key}: that file must hold the secret and nothing else")
    return ",".join(lines)


def is_open(path: Path) -> bool:
    """Other users may read it."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
