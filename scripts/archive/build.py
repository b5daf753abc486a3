"""`clipserve archive build`: model.yaml → staged files → torch-model-archiver → model_store/<endpoint>.mar."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clip_core.errors import BadModel
from clip_core.model_spec import (
    CANARIES_FILE,
    CONFIG_FILE,
    KINDS,
    SPEC_FILE,
    WEIGHTS_FILE,
    ModelSpec,
    digest,
    fingerprint,
)
from scripts.archive.contents import unpack
from scripts.archive.model_source import LoadedSource, ModelSource, load
from scripts.archive.work_folders import work_folder

if TYPE_CHECKING:  # torch is slow to import, and most of what is here does without
    from scripts.archive.tower_build import BuiltTowers, Judged

Report = Callable[[str], None]
ROOT = Path(__file__).resolve().parents[2]
ARCHIVE_DIR = ROOT / "archive"
MODEL_STORE = ROOT / "model_store"


def models() -> list[str]:
    """The models that have a spec under archive/."""
    return sorted(path.parent.name for path in ARCHIVE_DIR.glob("*/model.yaml"))


def build(
    name: str,
    *,
    checkpoint: Path | None = None,
    model_store: Path = MODEL_STORE,
    prefix: str = "clip",
    precision: str | None = None,
    compile: bool | None = None,
    gate_images: Path | None = None,
    device: str | None = None,
    force: bool = False,
    report: Report = lambda _: None,
    show: Callable[[list[Judged], str], None] = lambda *_: None,
) -> list[Path]:
    """Build the three archives of `archive/<name>`; those that are whole and up to date stay. Raises BadModel.

    `precision`, `compile` and `device` override the model's own; `gate_images` are judged with instead of rendered
    scenes; `show` is given what `auto` compared and chose.
    """
    _check_prefix(prefix)
    directory, source = _source(name, checkpoint, precision, compile, device)
    key = build_key(directory, source)
    stale = KINDS if force else _stale(key, model_store, prefix)
    if stale:
        _make_folder(model_store)
        report(f"loading the weights of {name}")
        loaded = load(source)
        with work_folder(model_store, ".compiling-") as work:
            towers = _towers(source, loaded, gate_images, work, report, show)
            for kind in stale:
                report(f"packing {prefix}_{kind}.mar")
                _build_one(kind, f"{prefix}_{kind}", source, loaded, towers, directory, key, model_store)
    return [model_store / f"{prefix}_{kind}.mar" for kind in KINDS]


def _check_prefix(prefix: str) -> None:
    """As torch-model-archiver takes names, and short enough for a file's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", prefix):
        raise BadModel(f"a prefix is up to 100 letters, digits, `_`, `.` and `-`, and no path: {prefix!r}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadModel(f"the archives can't be written to {path}: {error.strerror}") from error


def _towers(
    source: ModelSource,
    loaded: LoadedSource,
    gate_images: Path | None,
    work: Path,
    report: Report,
    show: Callable[[list[Judged], str], None],
) -> BuiltTowers:
    """Both towers at the precision asked for, compiled if the model says so."""
    from scripts.archive.gate_set import GateSet
    from scripts.archive.precision_choice import choose
    from scripts.archive.tower_build import build_towers

    directory = work if source.compile else None
    gate = GateSet.from_directory(gate_images) if gate_images else GateSet.rendered()
    if source.precision != "auto":
        return build_towers(loaded, source.precision, gate, directory, report, source.device)
    towers, judged = choose(source, loaded, gate, directory, report)
    show(judged, towers.precision)
    return towers


def stale_archives(
    name: str,
    checkpoint: Path | None = None,
    model_store: Path = MODEL_STORE,
    prefix: str = "clip",
    precision: str | None = None,
) -> tuple[str, ...]:
    """The kinds whose .mar is missing, damaged, or made of anything but what is here now. Raises BadModel."""
    return _stale(build_key(*_source(name, checkpoint, precision)), model_store, prefix)


def _stale(key: str, model_store: Path, prefix: str) -> tuple[str, ...]:
    return tuple(kind for kind in KINDS if built_with(model_store / f"{prefix}_{kind}.mar") != key)


def _source(
    name: str,
    checkpoint: Path | None,
    precision: str | None = None,
    compile: bool | None = None,
    device: str | None = None,
) -> tuple[Path, ModelSource]:
    directory = ARCHIVE_DIR / name
    if not directory.is_dir():
        raise BadModel(f"archive/{name} does not exist; the models are {', '.join(models())}")
    return directory, ModelSource.read(directory, checkpoint, precision, compile, device)


def build_key(directory: Path, source: ModelSource) -> str:
    """A digest of everything that goes in: our code, the settings, the weights' files."""
    files = [
        *_code_files(),
        *sorted((ROOT / "handlers").glob("*.py")),
        *sorted((ARCHIVE_DIR / "common").glob("*.yaml")),
    ]
    files += sorted(directory.glob("*.yaml"))
    if source.checkpoint:
        files += sorted(path for path in Path(source.checkpoint).iterdir() if path.is_file())
    parts = [part for path in files for part in (_name(path).encode(), path.read_bytes())]
    return digest(repr(source).replace(str(source.checkpoint), "").encode(), *parts)[:16]


def _name(path: Path) -> str:
    """The same in every checkout."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT / "clip_core") else path.name


def _code_files() -> list[Path]:
    return sorted((ROOT / "clip_core").rglob("*.py"))


def built_with(mar: Path) -> str | None:
    """The build key inside a whole .mar; None when it is missing, cut short or not ours."""
    spec = read_spec(mar)
    return spec.build_key if spec else None


def read_spec(mar: Path) -> ModelSpec | None:
    """The ModelSpec inside a .mar; None when the file is missing, damaged or not ours."""
    try:
        with zipfile.ZipFile(mar) as archive:
            if archive.testzip() is not None:
                return None
            return ModelSpec.parse(json.loads(archive.read(SPEC_FILE)))
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, BadModel):
        return None


def _build_one(
    kind: str,
    endpoint: str,
    source: ModelSource,
    loaded: LoadedSource,
    towers: BuiltTowers,
    directory: Path,
    key: str,
    model_store: Path,
) -> None:
    with work_folder(model_store, ".building-") as work:
        stage = work / "stage"
        _stage(stage, kind, source, loaded, towers, key)
        (work / "model-config.yaml").write_text(yaml.safe_dump(endpoint_config(kind, directory), sort_keys=False))
        _archive(work, stage, kind, endpoint)
        os.replace(work / f"{endpoint}.mar", model_store / f"{endpoint}.mar")


def endpoint_config(kind: str, directory: Path) -> dict[str, Any]:
    """archive/common/<kind>.yaml with the model's own keys over it."""
    merged: dict[str, Any] = {}
    for path in (ARCHIVE_DIR / "common" / f"{kind}.yaml", directory / f"{kind}.yaml"):
        if path.exists():
            merged |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return merged


def _stage(stage: Path, kind: str, source: ModelSource, loaded: LoadedSource, towers: BuiltTowers, key: str) -> None:
    """Everything that the worker needs, laid out as it will find it."""
    from clip_core.inputs.preprocessing import Preprocessing
    from clip_core.inputs.tokens import Tokenizer
    from clip_core.towers.towers import modalities
    from scripts.archive.input_check import check_pixels, check_tokens, reference_transform

    check_pixels(Preprocessing.of_model(loaded.model), reference_transform(loaded.model))
    for path in _code_files():
        target = stage / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (stage / CONFIG_FILE).write_text(json.dumps(loaded.config, indent=2) + "\n", encoding="utf-8")
    if hasattr(loaded.tokenizer, "save_pretrained"):
        loaded.tokenizer.save_pretrained(str(stage))
    context_length = int(loaded.tokenizer.context_length)
    tokenizer = Tokenizer(loaded.tokenizer, context_length)
    check_tokens(loaded.tokenizer, Tokenizer.load(stage))
    weights = _save_weights(loaded.model, stage / WEIGHTS_FILE, kind)
    dim = _write_canaries(stage / CANARIES_FILE, kind, source, loaded, tokenizer)
    identity = fingerprint(weights=weights, tokenizer=tokenizer.digest(), config=loaded.config)
    towers.stage(stage, modalities(kind))
    spec = ModelSpec(source.name, kind, dim, context_length, identity, towers.precision, source.compile)
    shorter = shorter_dimensions(source, dim)
    spec = replace(spec, cosine_floor=source.cosine_floor, build_key=key, matryoshka_dimensions=shorter)
    spec = replace(spec, cuda_graphs=source.cuda_graphs)
    spec.write(stage)


def shorter_dimensions(source: ModelSource, dim: int) -> tuple[int, ...]:
    """`matryoshka_dimensions` of model.yaml. Raises BadModel for one that is no part of `dim`."""
    for shorter in source.matryoshka_dimensions:
        if type(shorter) is not int or not 0 < shorter < dim:
            raise BadModel(f"{source.name}: matryoshka_dimensions are whole numbers below {dim}, not {shorter!r}")
    return source.matryoshka_dimensions


def _save_weights(model: Any, path: Path, kind: str) -> str:
    """Write the weights that `kind` needs; return the digest of all of them, whatever the kind."""
    from safetensors.torch import save_file

    from clip_core.networks.open_clip_model import belongs

    state = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file({name: tensor for name, tensor in state.items() if belongs(name, kind)}, path)
    parts = (
        p for n in sorted(state) for p in (n.encode(), str(tuple(state[n].shape)).encode(), state[n].numpy().tobytes())
    )
    return digest(*parts)


def _write_canaries(path: Path, kind: str, source: ModelSource, loaded: LoadedSource, tokenizer: Any) -> int:
    """Vectors by open_clip's own pipeline, not by ours. Returns the dimension."""
    import torch

    from clip_core.encode import canaries
    from clip_core.inputs.requests import Item, Part
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


def _archive(work: Path, stage: Path, kind: str, endpoint: str) -> None:
    """Run torch-model-archiver in a private TMPDIR: it deletes <tmp>/<model name>."""
    (work / "tmp").mkdir()
    archiver = Path(sys.executable).parent / "torch-model-archiver"
    command = [
        *(str(archiver), "--model-name", endpoint, "--version", "1.0", "--export-path", str(work), "--force"),
        *("--handler", str(ROOT / "handlers" / f"{kind}_handler.py"), "--extra-files", str(stage)),
        *("--config-file", str(work / "model-config.yaml")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(work / "tmp")})
    if done.returncode != 0 or not (work / f"{endpoint}.mar").exists():
        raise BadModel(f"torch-model-archiver failed for {endpoint}:\n{done.stderr[-2000:]}")


@contextlib.contextmanager
def unpacked(mar: Path) -> Iterator[Path]:
    """A .mar's files in a directory that goes away again. Raises BadModel when it is not whole."""
    with tempfile.TemporaryDirectory(prefix="clipserve-verify-") as temporary:
        unpack(mar, Path(temporary))
        yield Path(temporary)
