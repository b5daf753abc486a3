"""Published weights: a tag of open_clip's (`ViT-B-32/openai`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from scripts.archive.assembly.parts import ModelParts
from scripts.archive.assembly.weights_file import read_state
from scripts.archive.forms.architecture import cleaned, read_architecture
from scripts.hub.fetch import fetch_tag
from scripts.progress import SILENT, WorkProgress

_PREPROCESS = ("mean", "std", "interpolation", "resize_mode", "size", "mode", "fill_color")


def read_tag(architecture: str, tag: str, tokenizer: Path | None = None, progress: WorkProgress = SILENT) -> ModelParts:
    """With the activation that the tag was trained with, whatever the architecture's file says. Raises BadModel."""
    model, _ = read_architecture(architecture)
    known = tag_config(architecture, tag)
    if known.get("quick_gelu") and not model.get("quick_gelu"):
        model["quick_gelu"] = True
    preprocess = {key: known[key] for key in _PREPROCESS if known.get(key) is not None}
    path, provenance = fetch_tag(known, f"{architecture}/{tag}", progress)
    folders = (*((tokenizer,) if tokenizer else ()), path.parent)
    return ModelParts(model, preprocess, read_state(path), folders, provenance=provenance)


def tag_config(architecture: str, tag: str) -> dict[str, Any]:
    """What open_clip knows of a tag. Raises BadModel that lists the architecture's tags."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    known: dict[str, Any] = get_pretrained_cfg(cleaned(architecture), tag)
    if not known:
        tags = ", ".join(list_pretrained_tags_by_model(cleaned(architecture))) or "none"
        raise BadModel(f"{architecture} has no weights {tag!r} in open_clip; its tags are {tags}")
    return known
