"""What is read from the environment: `CLIPSERVE_URL`, `CLIPSERVE_API_KEY` and `XDG_CACHE_HOME`."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8000"


def gateway_url() -> str:
    return os.environ.get("CLIPSERVE_URL") or DEFAULT_URL


def api_key() -> str | None:
    return os.environ.get("CLIPSERVE_API_KEY") or None


def cache_folder() -> Path:
    """`clipserve` in the user's cache, as the XDG base directory specification places it."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "clipserve"
