"""A path → ModelParts: which form of weights lies there is told by the files, never by a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE
from scripts.archive.assembly.parts import ModelParts, State
from scripts.archive.assembly.weights_file import SUFFIXES, read_state
from scripts.archive.forms import transformers_clip, transformers_siglip
from scripts.archive.forms.architecture import read_config
from scripts.archive.forms.bare_file import read_bare
from scripts.hub.fetch import WEIGHTS

_TOWERS = ("text_model.", "vision_model.")  # as transformers names them
_ADAPTER = "adapter_config.json"
_TRANSFORMERS = {"clip": transformers_clip.read, "siglip": transformers_siglip.read}


def read_path(path: Path, architecture: str | None = None, tokenizer: Path | None = None) -> ModelParts:
    """`architecture`: of open_clip, or a JSON file, where the weights don't tell it. Raises BadModel."""
    folders = (tokenizer,) if tokenizer else ()
    try:
        if path.is_dir():
            return _read_folder(path, architecture, folders)
        path.stat()
    except OSError as error:
        raise BadModel(f"{path} can't be read: {error.strerror}") from error
    return _read_file(path, architecture, folders)


def _read_file(path: Path, architecture: str | None, folders: tuple[Path, ...]) -> ModelParts:
    """Weights with transformers' names go with the config.json beside them."""
    state = read_state(path)
    if not any(key.startswith(_TOWERS) for key in state):
        return read_bare(path, state, architecture, folders)
    if not (path.parent / "config.json").is_file():
        raise BadModel(
            f"{path} has the names of transformers, and no config.json is beside it that tells the rest: give a folder "
            "that `model.save_pretrained(FOLDER)` wrote"
        )
    return _read_transformers(path.parent, state, folders)


def _read_folder(path: Path, architecture: str | None, folders: tuple[Path, ...]) -> ModelParts:
    if (path / CONFIG_FILE).is_file():
        model, preprocess = read_config(path / CONFIG_FILE)
        return ModelParts(model, preprocess, read_state(weights_in(path)), (*folders, path))
    if (path / "config.json").is_file():
        return _read_transformers(path, None, folders)
    if architecture and (files := _weights(path)):
        return _read_file(_only(path, files), architecture, (*folders, path))
    raise BadModel(_says_what_is_missing(path))


def _read_transformers(path: Path, state: State | None, folders: tuple[Path, ...]) -> ModelParts:
    """`state`: of the folder's own weights unless given."""
    config = _read_json(path / "config.json")
    read = _TRANSFORMERS.get(str(config.get("model_type")))
    if read is None:
        raise BadModel(
            f"{path} holds a {config.get('model_type')} of transformers: CLIPModel and SiglipModel can be served"
        )
    return read(path, config, read_state(weights_in(path)) if state is None else state, folders)


def _says_what_is_missing(path: Path) -> str:
    if not any(path.iterdir()):
        return f"{path} is an empty folder"
    if (path / _ADAPTER).is_file():
        return f"{path} holds a LoRA adapter and no whole model: merge it (`merge_and_unload()` of PEFT) and save that"
    wanted = f"{path} has no {CONFIG_FILE} (the hub's layout) and no config.json (transformers)"
    if files := _weights(path):
        return f"{wanted}: give one of its files, such as {path / files[-1]}, or --architecture"
    return f"{wanted}, and no weights: it is no model"


def weights_in(path: Path) -> Path:
    """The file of weights in a folder, chosen as open_clip chooses. Raises BadModel."""
    for name in WEIGHTS:
        if (path / name).is_file():
            return path / name
    if not (files := _weights(path)):
        raise BadModel(f"{path} has a configuration and no weights: no file ends in {', '.join(SUFFIXES)}")
    return _only(path, files)


def _only(path: Path, files: list[str]) -> Path:
    if len(files) > 1:
        raise BadModel(f"{path} holds several files of weights ({', '.join(files[:5])}): give one of them")
    return path / files[0]


def _weights(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(f"{path} can't be read: {error}") from error
    if not isinstance(body, dict):
        raise BadModel(f"{path} is no configuration of transformers")
    return body
