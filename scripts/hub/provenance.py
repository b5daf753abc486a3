"""Where weights come from: what goes into an archive's spec, and comes out at `/v1/models`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Provenance:
    """`source` such as hf-hub:ORG/NAME; `revision` a commit; `licence` as the model card has it; None: unknown."""

    source: str | None = None
    revision: str | None = None
    licence: str | None = None
    weights_sha256: str | None = None


def licence_of(card: Path) -> str | None:
    """The `license` of a model card's metadata; its `license_name` where that is `other`."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        metadata = metadata_load(card) or {}
    except (OSError, ValueError, YAMLError):  # a card of plain text, or of broken YAML
        return None
    given = metadata.get("license") if isinstance(metadata, dict) else None
    named = metadata.get("license_name") if given == "other" else None
    return str(named or given) if named or given else None
