"""What the folders of transformers' CLIPModel and SiglipModel share: blocks, activations, preprocessing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clip_core.errors import BadModel
from scripts.archive.assembly.parts import State
from scripts.hub.refusals import first_line

FILE = "preprocessor_config.json"
_FILES = (FILE, "processor_config.json")  # of an image processor, of a whole processor
TANH = ("gelu_pytorch_tanh", "gelu_new")
POSITION_IDS = "embeddings.position_ids"  # older versions saved them; they are a range
_EPS = 1e-5  # open_clip's
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # by the numbers of PIL
_BLOCK = {  # a block of transformers → one of open_clip
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def sub_config(path: Path, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`text_config` or `vision_config` with the defaults of transformers, which leaves out what equals them."""
    from transformers import AutoConfig

    try:
        whole = AutoConfig.from_pretrained(str(path))
        values: dict[str, Any] = getattr(whole, name).to_dict()
        return values
    except Exception as error:  # transformers raises many kinds
        raise BadModel(
            f"{path / 'config.json'} is no configuration of a {config.get('model_type')}: {first_line(error)}"
        ) from error


def block_config(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What `vision_cfg` and `text_cfg` say of their blocks. Raises BadModel."""
    if config["hidden_act"] not in ("gelu", "quick_gelu", *TANH):
        raise BadModel(f"{path}: the activation {config['hidden_act']} is not known here")
    known: dict[str, Any] = {"layers": config["num_hidden_layers"], "width": config["hidden_size"]}
    ratio = config["intermediate_size"] / config["hidden_size"]
    if int(config["hidden_size"] * ratio) != config["intermediate_size"]:  # open_clip rounds down
        ratio = (config["intermediate_size"] + 0.5) / config["hidden_size"]
    known |= {} if ratio == 4 else {"mlp_ratio": ratio}
    known |= {"act_kwargs": {"approximate": "tanh"}} if config["hidden_act"] in TANH else {}
    return known | ({} if config["layer_norm_eps"] == _EPS else {"norm_kwargs": {"eps": config["layer_norm_eps"]}})


def with_joint_projections(state: State, prefix: str) -> State:
    """The weights below `prefix`, with the q, k and v of each attention as the one matrix that open_clip keeps."""
    below = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    joined: State = {}
    for key, value in below.items():
        found = re.fullmatch(r"(.*self_attn)\.([qkv])_proj\.(weight|bias)", key)
        if found is None:
            joined[key] = value
        elif found[2] == "q":
            rows = [below.get(f"{found[1]}.{each}_proj.{found[3]}") for each in "qkv"]
            if any(row is None for row in rows):
                raise BadModel(f"the weights lack a part of {prefix}{found[1]}")
            joined[f"{found[1]}.in_proj_{found[3]}"] = torch.cat([row for row in rows if row is not None])
    return joined


def block_name(key: str) -> str | None:
    """`encoder.layers.3.mlp.fc1.weight` → `transformer.resblocks.3.mlp.c_fc.weight`; None for what is no block's."""
    found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", key)
    if found is None:
        return None
    inner = found[2].replace("self_attn.in_proj", "attn.in_proj")
    for theirs, ours in _BLOCK.items():
        if inner.startswith(theirs + "."):
            inner = ours + inner.removeprefix(theirs)
    return f"transformer.resblocks.{found[1]}.{inner}"


def preprocessing(path: Path, size: Any, default: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`preprocess_cfg` of the image processor in the folder, and a note where there is none. Raises BadModel."""
    body = _processor(path)
    if body is None:
        return dict(default), [f"{path.name} has no {FILE}: pictures are prepared as the family usually does"]
    resample = body.get("resample", 3)
    if resample not in _RESAMPLING or not all(
        body.get(f"do_{step}", True) for step in ("resize", "rescale", "normalize")
    ):
        raise BadModel(f"{path / FILE} asks for what open_clip's transform does not do: resize, rescale and normalize")
    known = {"interpolation": _RESAMPLING[resample], "resize_mode": _resize_mode(path, body, size, default)}
    given = {"mean": body.get("image_mean"), "std": body.get("image_std")}
    return {**default, **known, **{key: value for key, value in given.items() if value is not None}}, []


def _processor(path: Path) -> Mapping[str, Any] | None:
    for name in _FILES:
        try:
            body = json.loads((path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise BadModel(f"{path / name} can't be read: {error}") from error
        body = body.get("image_processor", body) if isinstance(body, dict) else None
        if not isinstance(body, Mapping):
            raise BadModel(f"{path / name} describes no image processor")
        return body
    return None


def _resize_mode(path: Path, body: Mapping[str, Any], size: Any, default: Mapping[str, Any]) -> str:
    """`shortest` where the short edge is brought to the crop's size, `squash` where both are. Raises BadModel."""
    wanted, crop = body.get("size"), body.get("crop_size") if body.get("do_center_crop", True) else None
    edges = _edges(wanted)
    if wanted is None:
        return str(default["resize_mode"])
    if isinstance(wanted, int) or set(edges) == {"shortest_edge"}:
        if wanted == size or (edges.get("shortest_edge") == size and _edges(crop).get("height", size) == size):
            return "shortest"
    elif edges == {"height": size, "width": size}:
        return "squash"
    raise BadModel(
        f"{path / FILE} resizes pictures to {wanted} and the model takes {size}×{size}: open_clip has no such transform"
    )


def _edges(value: Any) -> dict[str, Any]:
    return {key: edge for key, edge in value.items() if edge is not None} if isinstance(value, Mapping) else {}
