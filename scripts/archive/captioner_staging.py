"""What a captioner's archive holds, laid into a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_core.errors import BadModel
from clip_core.model_spec import CANARIES_FILE, CAPTION, WEIGHTS_FILE, ModelSpec
from scripts.archive.model_source import OWN, ModelSource, load
from scripts.archive.pack import lay_code_and_inputs
from scripts.progress import WorkProgress

if TYPE_CHECKING:  # torch is slow to import, and most of what is here does without
    from torch import Tensor

    from scripts.archive.assembly.parts import LoadedSource

_MOST, _LEAST = 30, 5  # of a canary's tokens, as open_clip's `generate` has them


def load_captioner(source: ModelSource, loaded: LoadedSource | None, progress: WorkProgress) -> LoadedSource:
    """The model's own weights, `loaded` where they are already, or those of its folder. Raises BadModel."""
    if source.captioner == OWN:
        captioner = loaded or load(source, progress)
    else:
        apart = ModelSource(f"{source.name}'s captioner", checkpoint=source.captioner)
        captioner = load(apart, progress)
    if not hasattr(captioner.model, "text_decoder"):
        raise BadModel(f"{source.name} has no decoder, so it can't caption: leave `captioner` out of its model.yaml")
    return captioner


def stage_captioner(folder: Path, source: ModelSource, loaded: LoadedSource, key: str) -> None:
    """Everything that the worker needs. Raises BadModel."""
    lay_code_and_inputs(folder, loaded)
    _save_weights(loaded, folder / WEIGHTS_FILE)
    _write_canaries(folder / CANARIES_FILE, loaded)
    context = int(loaded.tokenizer.context_length)
    precision = source.captioner_precision
    spec = ModelSpec(source.name, CAPTION, 0, context, loaded.fingerprint, precision, source.captioner_compile)
    replace(spec, build_key=key, **asdict(loaded.provenance)).write(folder)
    if source.captioner_compile:
        _compile(folder, precision)


def _compile(folder: Path, precision: str) -> None:
    """Its passes as they will serve, for this kind of machine. Raises BadModel."""
    from clip_core.captions.captioner import Captioner
    from clip_core.cores import available_cores
    from clip_core.towers.artifacts import DIRECTORY

    Captioner.load(folder, precision=precision, threads=available_cores()).write_packages(folder / DIRECTORY)


def _save_weights(loaded: LoadedSource, path: Path) -> None:
    """In half precision where that loses nothing, as of a checkpoint that was kept so."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().contiguous() for name, tensor in loaded.model.state_dict().items()}
    halved = all(_is_half(tensor) for tensor in state.values())
    save_file({name: tensor.half() if halved else tensor.clone() for name, tensor in state.items()}, path)


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool((tensor.half().float() == tensor).all())


def _write_canaries(path: Path, loaded: LoadedSource) -> None:
    """Captions by open_clip's own forward pass, not by ours."""
    import base64

    from scripts.archive.canary_images import canary_images
    from scripts.archive.captions.reference import greedy
    from scripts.archive.input_check import reference_transform

    transform, tokenizer = reference_transform(loaded.model), loaded.tokenizer
    most = min(_MOST, int(tokenizer.context_length))
    start, end = int(tokenizer.sot_token_id), int(tokenizer.eot_token_id)
    rows = []
    for data, picture in canary_images():
        made = greedy(loaded.model, transform(picture), start, end, most, _LEAST)
        settings = {"max_tokens": most, "min_tokens": _LEAST}
        rows.append({"image": base64.b64encode(data).decode("ascii"), **settings, **asdict(made)})
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
