"""Small files of a repository of the hub, for weights that come without them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clip_core.errors import BadModel


def folder(repository: str, names: Sequence[str]) -> Path:
    """The local folder of those of `names` that the repository has. Raises BadModel."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(names)))
    except Exception as error:  # the hub's client raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadModel(f"the hub does not give {repository}: {reason}") from error
