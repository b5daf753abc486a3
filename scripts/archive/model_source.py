"""`archive/<model>/model.yaml` → the model, tokenizer and config that go into its archives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clip_core.errors import BadModel
from clip_core.model_spec import PRECISIONS
from scripts import costs
from scripts.archive.forms.decoders import has_decoder
from scripts.hub.digests import sha256_of
from scripts.hub.fetch import fetch_repository
from scripts.hub.provenance import Provenance
from scripts.hub.snapshots import HubName
from scripts.progress import SILENT, WorkProgress

if TYPE_CHECKING:  # torch is slow to import, and most of what is here does without
    from scripts.archive.assembly.parts import LoadedSource, ModelParts

OWN = "."  # a captioner that is the model itself
CAPTIONER_PRECISIONS = ("fp32", "bf16", "int8")
CANARY_TEXTS = (  # of models without a model.yaml
    "a photo of a dog",
    "two people riding bicycles along a river at sunset",
    "東京の夜景, a café & 3 neon signs",
)


def _key(description: str, default: Any = None) -> Any:
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class ModelSource:
    """The keys of `model.yaml`."""

    name: str = _key("name of the model in answers and in `/v1/models`", "")
    architecture: str | None = _key("open_clip architecture, such as ViT-B-32, or the JSON file of one")
    pretrained: str | None = _key("open_clip pretrained tag; needs `architecture` and a network")
    checkpoint: str | None = _key("file or folder of weights, in any form of docs/models.md, instead of a tag")
    hub: str | None = _key("repository on the Hugging Face hub, ORG/NAME or ORG/NAME@REVISION, instead of a tag")
    tokenizer: str | None = _key("folder with the files of a Hugging Face tokenizer, where the weights' own lacks them")
    precision: str = _key(
        "what the towers compute in: fp32, bf16, fp16, int8, int8-static, fp8, or auto: the fastest here that passes",
        "fp32",
    )
    compile: bool = _key("compile the towers when the archive is built", True)
    device: str = _key("what the towers are compiled for: cpu, or cuda where the archive is built on a GPU", "cpu")
    cuda_graphs: bool = _key("on a GPU, capture the towers' small batches as CUDA graphs when a worker warms up", True)
    cosine_floor: float = _key("least cosine of a canary to open_clip in fp32; below it a worker stays down", 0.999)
    recall_loss_limit: float = _key("recall@10 that `precision: auto` may lose against fp32", 0.01)
    matryoshka_dimensions: tuple[int, ...] = _key(
        "dimensions that vectors may be cut to, for models trained for it; others are refused", ()
    )
    captioner: str | None = _key(
        "folder of a CoCa of open_clip that captions pictures; `.`: the model's own weights are one; none: no captions"
    )
    captioner_precision: str = _key("what the captioner computes in: fp32, bf16 or int8", "fp32")
    captioner_compile: bool = _key("compile the captioner when the archive is built", False)
    canary_texts: tuple[str, ...] = _key("texts that every worker checks itself with", ("a photo of a dog",))

    @classmethod
    def read(cls, directory: Path, checkpoint: Path | None = None, **given: Any) -> ModelSource:
        """`given` replaces the file's own values, where it is not None. Raises BadModel that names the key."""
        path = directory / "model.yaml"
        try:
            body = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise BadModel(f"{path} can't be read: {error}") from error
        if isinstance(body, Mapping):
            body = {**body, **{key: value for key, value in given.items() if value is not None}}
        return cls._parse(body, path, checkpoint)

    @classmethod
    def without_file(cls, name: str, given: Mapping[str, Any], **where: Any) -> ModelSource:
        """Of weights that have no model.yaml. Raises BadModel."""
        values = {"name": name, "precision": "auto", "canary_texts": list(CANARY_TEXTS), **where}
        values |= {key: value for key, value in given.items() if value is not None}
        if has_decoder(values.get("architecture"), values.get("checkpoint")):
            values["captioner"] = OWN
            values.setdefault("captioner_compile", values.get("compile", True))
        return cls._parse(values, Path(name), None)

    @classmethod
    def _parse(cls, body: Any, path: Path, checkpoint: Path | None) -> ModelSource:
        known = [f.name for f in fields(cls)]
        if not isinstance(body, Mapping) or not set(body) <= set(known) or not body.get("name"):
            raise BadModel(f"{path}: an object with `name` and no keys but {', '.join(known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()}
        source = cls(**values)
        _check_values(source, path)
        where = checkpoint or (path.parent / source.checkpoint if source.checkpoint else None)
        if where is None and not source.hub and not (source.architecture and source.pretrained):
            raise BadModel(f"{path}: give `checkpoint`, `hub`, or `architecture` and `pretrained`")
        if where is not None and not where.exists():
            raise BadModel(f"the checkpoint {where} is no folder and no file")
        tokenizer = _folder(path.parent / source.tokenizer, "a tokenizer") if source.tokenizer else None
        captioner = _captioner(source, path, checkpoint)
        paths = {"checkpoint": str(where.resolve()) if where else None, "tokenizer": tokenizer, "captioner": captioner}
        if source.architecture and source.architecture.endswith(".json"):
            paths["architecture"] = str((path.parent / source.architecture).resolve())
        return cls(**{**vars(source), **paths})


def as_yaml(value: object) -> str:
    """A value as a file has it, for errors."""
    return json.dumps(value, default=str, ensure_ascii=False)


def _check_values(source: ModelSource, path: Path) -> None:
    if source.precision not in (*PRECISIONS, "auto"):
        raise BadModel(f"{path}: precision is one of {', '.join(PRECISIONS)}, auto")
    if source.device not in ("cpu", "cuda"):
        raise BadModel(f"{path}: device is cpu or cuda, not {as_yaml(source.device)}")
    if source.captioner_precision not in CAPTIONER_PRECISIONS:
        raise BadModel(f"{path}: captioner_precision is one of {', '.join(CAPTIONER_PRECISIONS)}")
    if type(source.cuda_graphs) is not bool:
        raise BadModel(f"{path}: cuda_graphs is true or false, not {as_yaml(source.cuda_graphs)}")


def _folder(path: Path, what: str) -> str:
    if not path.is_dir():
        raise BadModel(f"there is no folder {path} with {what}")
    return str(path.resolve())


def _captioner(source: ModelSource, path: Path, checkpoint: Path | None) -> str | None:
    """Another model's weights, given in place of the model's own, have no captioner but themselves."""
    if source.captioner in (None, OWN):
        return source.captioner
    return None if checkpoint else _folder(path.parent / str(source.captioner), "a captioner")


def load(source: ModelSource, progress: WorkProgress = SILENT) -> LoadedSource:
    """The model, its tokenizer and its config. `progress` is told what was concluded. Raises BadModel in one line."""
    parts = _with_tokenizer(_parts(source, progress), source.tokenizer)
    for note in parts.notes:
        progress.say(note)
    size = sum(tensor.numel() * tensor.element_size() for tensor in parts.state.values())
    cost = costs.loading(size)
    with progress.step(f"loading the weights of {source.name}", expected_s=cost.seconds, cost=str(cost)):
        from scripts.archive.assembly.assemble import assemble

        return assemble(source.name, parts)


def _parts(source: ModelSource, progress: WorkProgress) -> ModelParts:
    """The hub is asked before torch is imported: what it refuses is said at once."""
    if source.checkpoint:
        path = Path(source.checkpoint)
        return _read(path, Provenance(weights_sha256=_weights_digest(path)), source)
    if source.hub:
        return _read(*fetch_repository(HubName.parse(source.hub), progress), source)
    from scripts.archive.forms.pretrained_tag import read_tag

    return read_tag(str(source.architecture), str(source.pretrained), _tokenizer(source), progress)


def _with_tokenizer(parts: ModelParts, folder: str | None) -> ModelParts:
    """Whoever names a tokenizer means it, also where the architecture has CLIP's own. Raises BadModel."""
    from scripts.archive.assembly.tokenizers import has_tokenizer
    from scripts.archive.forms.clip_vocabulary import choose_tokenizer

    if folder is None:
        return parts
    if not has_tokenizer(Path(folder)):
        raise BadModel(f"there is no tokenizer in {folder}: name a folder with tokenizer.json or vocab.json")
    text = parts.model_cfg["text_cfg"]
    keys = {} if text.get("hf_tokenizer_name") else choose_tokenizer([Path(folder)], text)[0]
    return replace(parts, model_cfg={**parts.model_cfg, "text_cfg": {**text, **keys}})


def _read(path: Path, provenance: Provenance, source: ModelSource) -> ModelParts:
    from scripts.archive.forms.read_path import read_path

    return replace(read_path(path, source.architecture, _tokenizer(source)), provenance=provenance)


def _tokenizer(source: ModelSource) -> Path | None:
    return Path(source.tokenizer) if source.tokenizer else None


def _weights_digest(path: Path) -> str | None:
    from scripts.archive.forms.read_path import weights_in

    try:
        return sha256_of(weights_in(path) if path.is_dir() else path)
    except (BadModel, OSError):  # of several files
        return None
