"""open_clip's architectures: by name, or as a JSON file of one's own."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel

_NEEDED = ("embed_dim", "vision_cfg", "text_cfg")


@functools.cache
def architectures() -> dict[str, Path]:
    """Name → its JSON file in open_clip, which is found and not imported."""
    package = importlib.util.find_spec("open_clip")
    folder = Path(next(iter(package.submodule_search_locations or ()))) if package else Path()
    return {path.stem: path for path in sorted(folder.glob("model_configs/*.json"), key=lambda path: path.stem)}


def cleaned(architecture: str) -> str:
    """`ViT-B/32`, as OpenAI writes it, is open_clip's `ViT-B-32`."""
    return architecture.replace("/", "-")


def read_architecture(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A name of open_clip's, or the path of a JSON file → `model_cfg` and `preprocess_cfg`, which may be empty.

    Raises BadModel.
    """
    if text.endswith(".json") or Path(text).is_file():
        return read_config(Path(text))
    path = architectures().get(cleaned(text))
    if path is None:
        near = difflib.get_close_matches(cleaned(text), architectures(), n=3, cutoff=0.4)
        raise BadModel(f"open_clip has no architecture {text!r}; near it are {', '.join(near) or 'none'}")
    return read_config(path)


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`open_clip_config.json` of the hub's layout, or `model_cfg` alone as open_clip keeps it. Raises BadModel."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(f"{path} can't be read: {error}") from error
    model = body.get("model_cfg", body) if isinstance(body, dict) else None
    if not isinstance(model, dict) or not all(name in model for name in _NEEDED):
        raise BadModel(f"{path} is no configuration of open_clip: it has {', '.join(_NEEDED)}")
    preprocess = body.get("preprocess_cfg") or {}
    if not isinstance(preprocess, dict):
        raise BadModel(f"{path}: preprocess_cfg is no object")
    return model, preprocess
