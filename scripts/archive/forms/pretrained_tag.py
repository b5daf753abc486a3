"""Published weights: a tag of open_clip's (`ViT-B-32/openai`), or a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from scripts.archive.assembly.parts import ModelParts
from scripts.archive.assembly.weights_file import read_state
from scripts.archive.forms.architecture import cleaned, read_architecture
from scripts.archive.forms.read_path import read_path

_PREPROCESS = ("mean", "std", "interpolation", "resize_mode", "size", "mode", "fill_color")


def read_tag(architecture: str, tag: str, tokenizer: Path | None = None) -> ModelParts:
    """With the activation that the tag was trained with, whatever the architecture's file says. Raises BadModel."""
    model, _ = read_architecture(architecture)
    known = tag_config(architecture, tag)
    if known.get("quick_gelu") and not model.get("quick_gelu"):
        model["quick_gelu"] = True
    preprocess = {key: known[key] for key in _PREPROCESS if known.get(key) is not None}
    path = _download(architecture, tag, known)
    return ModelParts(model, preprocess, read_state(path), (*((tokenizer,) if tokenizer else ()), path.parent))


def tag_config(architecture: str, tag: str) -> dict[str, Any]:
    """What open_clip knows of a tag. Raises BadModel that lists the architecture's tags."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    known: dict[str, Any] = get_pretrained_cfg(cleaned(architecture), tag)
    if not known:
        tags = ", ".join(list_pretrained_tags_by_model(cleaned(architecture))) or "none"
        raise BadModel(f"{architecture} has no weights {tag!r} in open_clip; its tags are {tags}")
    return known


def _download(architecture: str, tag: str, known: dict[str, Any]) -> Path:
    from open_clip.pretrained import download_pretrained

    try:
        return Path(download_pretrained(known))
    except Exception as error:  # the hub's client raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadModel(
            f"the weights {architecture}/{tag} can't be had: {reason}; `--checkpoint` takes local ones"
        ) from error


def read_repository(name: str, architecture: str | None = None, tokenizer: Path | None = None) -> ModelParts:
    """`ORG/NAME[@REVISION]`, in the hub's layout or transformers'. Raises BadModel."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        folder = Path(snapshot_download(repository, revision=revision or None))
    except Exception as error:  # the hub's client raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadModel(f"hf-hub:{name} can't be had: {reason}") from error
    return read_path(folder, architecture, tokenizer)
