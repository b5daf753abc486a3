"""Small files of a repository of the hub, for weights that come without them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.hub.fetch import fetch_small
from scripts.hub.snapshots import HubName


def folder(repository: str, names: Sequence[str]) -> Path:
    """The local folder of those of `names` that the repository has. Raises BadModel."""
    return fetch_small(HubName(repository), names)
