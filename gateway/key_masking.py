"""API keys in places where they don't belong: a path, a request id."""

from __future__ import annotations

import re

_KEY = re.compile(r"(cs(?:_|%5f)[0-9a-f]{8}(?:_|%5f))[\w%-]+", re.ASCII | re.IGNORECASE)


def without_keys(text: str) -> str:
    """The text with the secret of each `cs_ID_SECRET` left out, also where its underscores are percent-encoded."""
    return _KEY.sub(r"\1***", text)
