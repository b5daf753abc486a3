"""Which weights can caption, told by their configuration alone: nothing is loaded."""

from __future__ import annotations

from pathlib import Path

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE
from scripts.archive.forms.architecture import architectures, cleaned, read_config


def has_decoder(architecture: str | None, checkpoint: str | None) -> bool:
    """Whether open_clip's configuration of them is a CoCa's; False where there is none to read."""
    path = Path(checkpoint) / CONFIG_FILE if checkpoint else None
    if path is None or not path.is_file():
        path = architectures().get(cleaned(architecture)) if architecture else None
    if architecture and architecture.endswith(".json"):
        path = Path(architecture)
    try:
        return path is not None and "multimodal_cfg" in read_config(path)[0]
    except BadModel:  # what reads the weights says it
        return False
