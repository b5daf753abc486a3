"""A model of random weights as a directory that `archive build` takes: its speed is that of the real one."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from clip_core.model_spec import CONFIG_FILE, WEIGHTS_FILE


def write_random_model(architecture: str, directory: Path, **keys: object) -> Path:
    """Weights of seed 0 and a `model.yaml` with `keys` → `directory`."""
    import open_clip

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    model = open_clip.create_model(architecture)
    logging.disable(logging.NOTSET)
    config = {
        "model_cfg": open_clip.get_model_config(architecture),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(model),
    }
    (directory / CONFIG_FILE).write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, directory / WEIGHTS_FILE)
    facts = {"name": f"{architecture.lower()}-random", "checkpoint": ".", **keys}
    (directory / "model.yaml").write_text(yaml.safe_dump(facts))
    return directory
