"""The configuration of a Hugging Face text tower: found beside the weights, or on the hub, and kept in the archive."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from clip_core.model_spec import TEXT_CONFIG_FOLDER
from scripts.hub.fetch import fetch_small
from scripts.hub.snapshots import HubName

FILE = "config.json"


def text_config_folder(model_cfg: dict[str, Any], folders: Iterable[Path]) -> Path | None:
    """The folder whose `config.json` describes the text tower; None for towers of open_clip's own. Raises BadModel."""
    name = model_cfg["text_cfg"].get("hf_model_name")
    if not name:
        return None
    for folder in (Path(name), *(each for root in folders for each in (root / TEXT_CONFIG_FOLDER, root))):
        if _is_text_tower(folder / FILE):
            return folder
    if Path(name).is_absolute():
        raise BadModel(f"the text tower's configuration is missing: there is no {FILE} in {name}")
    try:
        return fetch_small(HubName(name), [FILE])
    except BadModel as error:
        places = ", ".join(map(str, folders)) or "the folder of the weights"
        raise BadModel(
            f"the text tower's configuration ({FILE} of {name}) is not in {places}, and not to be had: {error.message}"
        ) from error


def named_locally(model_cfg: dict[str, Any]) -> dict[str, Any]:
    """The same without paths of this machine, which have no place in an archive or a fingerprint."""
    for key in ("hf_model_name", "hf_tokenizer_name"):
        name = model_cfg["text_cfg"].get(key)
        if name and Path(name).is_absolute():
            model_cfg["text_cfg"][key] = Path(name).name
    options = model_cfg["text_cfg"].get("tokenizer_kwargs") or {}
    if options.get("bpe_path"):
        model_cfg["text_cfg"]["tokenizer_kwargs"] = {**options, "bpe_path": Path(options["bpe_path"]).name}
    return model_cfg


def _is_text_tower(path: Path) -> bool:
    """A configuration of transformers, and not that of a whole CLIP."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(body, dict) and "model_type" in body and "vision_config" not in body
