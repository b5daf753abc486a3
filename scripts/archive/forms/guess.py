"""Which of open_clip's architectures has the names and shapes of a state dict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from scripts.archive.assembly.build_model import build_model
from scripts.archive.assembly.fit import difference, renamed
from scripts.archive.assembly.parts import State
from scripts.archive.forms.architecture import architectures, read_config

_ASK = "say which with --architecture"


def guess(path: Path, state: State) -> str:
    """The name of the only one that fits. Raises BadModel that lists the candidates."""
    found = list(candidates(state))
    if len(found) == 1:
        return found[0]
    if found:
        raise BadModel(f"{path} may be {' or '.join(found)}, which shapes can't tell apart: {_ASK}")
    raise BadModel(f"{path} has the shapes of none of open_clip's architectures: {_ASK}, or give its JSON file")


def candidates(state: State) -> Iterator[str]:
    """Most are ruled out by a few shapes, which their files tell; the rest are built without memory and compared."""
    for name, path in architectures().items():
        config, _ = read_config(path)
        if not _agree(config, state):
            continue
        model = build_model(name, config, {}, None, device="meta")
        if difference(model.state_dict(), renamed(model, state)) is None:
            yield name


def _agree(config: dict[str, Any], state: State) -> bool:
    text, vision = config["text_cfg"], config["vision_cfg"]
    token = state.get("token_embedding.weight", state.get("text.token_embedding.weight"))
    if "hf_model_name" in text or token is None:  # whose shapes are in a file that is not here
        return False
    known = (text.get("vocab_size", 49408), text.get("width", 512)) == tuple(token.shape)
    deep = text.get("layers", 12) == _layers(state, r"(?:text\.)?transformer\.resblocks\.(\d+)\.")
    timm = any(key.startswith("visual.trunk.") for key in state)
    return known and deep and timm == ("timm_model_name" in vision)


def _layers(state: State, pattern: str) -> int:
    return max((int(found[1]) + 1 for key in state if (found := re.match(pattern, key))), default=0)
