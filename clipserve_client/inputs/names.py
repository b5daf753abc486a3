"""Names of collections and aliases, checked before they become a part of a path."""

from __future__ import annotations

import re

from clipserve_client.errors import BadName

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def collection_name(given: str) -> str:
    """Raises BadName: an empty one, or one with a slash, would lead to another call."""
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise BadName(
            f"{str(given)[:80]!r} is no name of a collection or an alias: "
            "a name is 1 to 64 of A-Z a-z 0-9 _ -, the first a letter or digit"
        )
    return given
