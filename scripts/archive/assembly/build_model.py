"""open_clip's model of a configuration, before its weights are loaded."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE, TEXT_CONFIG_FOLDER
from clip_core.networks import open_clip_model


def build_model(
    name: str, model_cfg: dict[str, Any], preprocess_cfg: dict[str, Any], text_config: Path | None, device: str = "cpu"
) -> Any:
    """`text_config`: where a Hugging Face text tower is described. On the device "meta" a model takes no memory.

    Raises BadModel.
    """
    with tempfile.TemporaryDirectory(prefix="clipserve-config-") as folder:
        body = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
        (Path(folder) / CONFIG_FILE).write_text(json.dumps(body), encoding="utf-8")
        if text_config is not None:
            lay_text_config(text_config, Path(folder))
        try:
            return open_clip_model.build_model(Path(folder), device)
        except BadModel as error:
            raise BadModel(f"{name}: {error.message}") from error


def lay_text_config(text_config: Path, folder: Path) -> None:
    """Where a worker looks for it."""
    (folder / TEXT_CONFIG_FOLDER).mkdir()
    shutil.copy(text_config / "config.json", folder / TEXT_CONFIG_FOLDER / "config.json")
