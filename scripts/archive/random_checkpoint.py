"""A checkpoint of random weights for any open_clip architecture: the same speed as trained ones, and no network."""

from __future__ import annotations

import json
from pathlib import Path

from clip_core.model_spec import CONFIG_FILE, WEIGHTS_FILE

_UNSET = "text_decoder.text_projection"  # open_clip leaves there what was in the memory


def write_random(directory: Path, architecture: str, seed: int = 0) -> Path:
    """The hub's layout → `directory`. Of a CoCa, such as coca_ViT-B-32, its decoder, too."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = open_clip.create_model(architecture, pretrained=None)
    config = {"model_cfg": open_clip.get_model_config(architecture)}
    config["preprocess_cfg"] = open_clip.get_model_preprocess_cfg(model)
    (directory / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    state = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    if _UNSET in state:
        torch.nn.init.normal_(state[_UNSET], std=state[_UNSET].shape[0] ** -0.5)
    save_file(state, directory / WEIGHTS_FILE)
    return directory
