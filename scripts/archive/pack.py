"""Packs one archive: staged files → torch-model-archiver → a .mar in the model store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clip_core.errors import BadModel
from clip_core.model_spec import (
    CANARIES_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelSpec,
)
from scripts.archive.build_key import code_files
from scripts.archive.contents import CONFIG
from scripts.archive.mar_files import check_written
from scripts.archive.model_source import ModelSource, as_yaml
from scripts.archive.places import ROOT, endpoint_config
from scripts.archive.work_folders import work_folder

if TYPE_CHECKING:  # torch is slow to import, and most of what is here does without
    from scripts.archive.assembly.parts import LoadedSource
    from scripts.archive.tower_build import BuiltTowers


def pack(kind: str, endpoint: str, directory: Path | None, model_store: Path, stage: Callable[[Path], object]) -> None:
    """Write `model_store/<endpoint>.mar` of what `stage` lays into a folder; it appears whole or not at all.

    `directory`: the model's own, where settings of its endpoints lie. Raises BadModel.
    """
    with work_folder(model_store, ".building-") as work:
        staged = work / "stage"
        stage(staged)
        write_settings(work, kind, directory)
        _archive(work, staged, kind, endpoint)
        os.replace(work / f"{endpoint}.mar", model_store / f"{endpoint}.mar")


def stage(folder: Path, kind: str, source: ModelSource, loaded: LoadedSource, towers: BuiltTowers, key: str) -> None:
    """Write everything that the worker needs into `folder`, as the archive will hold it. Raises BadModel."""
    from clip_core.inputs.tokens import Tokenizer
    from clip_core.towers.towers import modalities

    lay_code_and_inputs(folder, loaded)
    context_length = int(loaded.tokenizer.context_length)
    tokenizer = Tokenizer(loaded.tokenizer, context_length)
    _save_weights(loaded.model, folder / WEIGHTS_FILE, kind)
    dim = _write_canaries(folder / CANARIES_FILE, kind, source, loaded, tokenizer)
    towers.stage(folder, modalities(kind))
    spec = ModelSpec(source.name, kind, dim, context_length, loaded.fingerprint, towers.precision, source.compile)
    shorter = shorter_dimensions(source, dim)
    spec = replace(spec, cosine_floor=source.cosine_floor, build_key=key, matryoshka_dimensions=shorter)
    spec = replace(spec, cuda_graphs=source.cuda_graphs, **asdict(loaded.head), **asdict(loaded.provenance))
    spec.write(folder)


def lay_code_and_inputs(folder: Path, loaded: LoadedSource) -> None:
    """Our code, the model's configuration and its tokenizer, both compared with open_clip's. Raises BadModel."""
    from clip_core.inputs.preprocessing import Preprocessing
    from clip_core.inputs.tokens import Tokenizer
    from scripts.archive.assembly.build_model import lay_text_config
    from scripts.archive.input_check import check_pixels, check_tokens, reference_transform

    check_pixels(Preprocessing.of_model(loaded.model), reference_transform(loaded.model))
    for path in code_files():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (folder / CONFIG_FILE).write_text(json.dumps(loaded.config, indent=2) + "\n", encoding="utf-8")
    if loaded.text_config is not None:
        lay_text_config(loaded.text_config, folder)
    if loaded.merges is not None:
        shutil.copy(loaded.merges, folder / loaded.merges.name)
    if hasattr(loaded.tokenizer, "save_pretrained"):
        loaded.tokenizer.save_pretrained(str(folder))
    check_tokens(loaded.tokenizer, Tokenizer.load(folder))


def write_settings(folder: Path, kind: str, directory: Path | None) -> None:
    """Beside the files: the handler, and the endpoint's settings."""
    shutil.copy(ROOT / "handlers" / f"{kind}_handler.py", folder)
    settings = yaml.safe_dump(endpoint_config(kind, directory), sort_keys=False)
    (folder / CONFIG).write_text(settings, encoding="utf-8")


def shorter_dimensions(source: ModelSource, dim: int) -> tuple[int, ...]:
    """`matryoshka_dimensions` of model.yaml. Raises BadModel for one that is no part of `dim`."""
    for shorter in source.matryoshka_dimensions:
        if type(shorter) is not int or not 0 < shorter < dim:
            raise BadModel(
                f"{source.name}: matryoshka_dimensions are whole numbers below {dim}, not {as_yaml(shorter)}"
            )
    return source.matryoshka_dimensions


def _save_weights(model: Any, path: Path, kind: str) -> None:
    """Those that `kind` needs."""
    from safetensors.torch import save_file

    from clip_core.networks.open_clip_model import belongs

    needed = {name: tensor for name, tensor in model.state_dict().items() if belongs(name, kind)}
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in needed.items()}, path)


def _write_canaries(path: Path, kind: str, source: ModelSource, loaded: LoadedSource, tokenizer: Any) -> int:
    """Vectors by open_clip's own pipeline, not by ours. Returns the dimension."""
    import torch

    from clip_core.encode import canaries
    from clip_core.inputs.request import Item, Part
    from scripts.archive.canary_images import canary_images
    from scripts.archive.input_check import reference_transform

    items, rows = [], []
    with torch.inference_mode():
        if kind != "image":
            items += [Item((Part("text", text),)) for text in source.canary_texts]
            rows.append(loaded.model.encode_text(tokenizer.reference(list(source.canary_texts)), normalize=True))
        if kind != "text":
            images = canary_images()
            transform = reference_transform(loaded.model)
            items += [Item((Part("image", data),)) for data, _ in images]
            rows.append(loaded.model.encode_image(torch.stack([transform(i) for _, i in images]), normalize=True))
    vectors = torch.cat(rows).float().numpy()
    canaries.write(path, items, vectors)
    return int(vectors.shape[1])


def _archive(work: Path, staged: Path, kind: str, endpoint: str) -> None:
    """Run torch-model-archiver in `work`, by names without a path: brackets and commas of a path mean much to it.

    Its TMPDIR is private: it deletes <tmp>/<model name>.
    """
    (work / "tmp").mkdir()
    handler = work / f"{kind}_handler.py"
    archiver = Path(sys.executable).parent / "torch-model-archiver"
    command = [
        *(str(archiver), "--model-name", endpoint, "--version", "1.0", "--export-path", ".", "--force"),
        *("--handler", handler.name, "--extra-files", staged.name, "--config-file", CONFIG),
        *("--archive-format", "zip-store"),  # weights hardly shrink, and to deflate them takes most of a quick build
    ]
    environment = {**os.environ, "TMPDIR": str(work / "tmp")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=work)
    if done.returncode != 0 or not (work / f"{endpoint}.mar").exists():
        raise BadModel(f"torch-model-archiver failed for {endpoint}:\n{done.stderr[-2000:]}")
    packed = {path.relative_to(staged).as_posix(): path for path in staged.rglob("*") if path.is_file()}
    check_written(work / f"{endpoint}.mar", {**packed, CONFIG: work / CONFIG, handler.name: handler})
