"""`archive/<model>/model.yaml` → the model, tokenizer and config that go into its archives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE, PRECISIONS


def _key(description: str, default: Any = None) -> Any:
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class ModelSource:
    """The keys of `model.yaml`."""

    name: str = _key("name of the model in answers and in `/v1/models`", "")
    architecture: str | None = _key("open_clip architecture, such as ViT-B-32")
    pretrained: str | None = _key("open_clip pretrained tag; needs `architecture` and a network")
    checkpoint: str | None = _key("directory in the hub's layout (open_clip_config.json and weights), instead of a tag")
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
    canary_texts: tuple[str, ...] = _key("texts that every worker checks itself with", ("a photo of a dog",))

    @classmethod
    def read(
        cls,
        directory: Path,
        checkpoint: Path | None = None,
        precision: str | None = None,
        compile: bool | None = None,
        device: str | None = None,
    ) -> ModelSource:
        """What is given beside `directory` replaces the file's own. Raises BadModel that names the key."""
        path = directory / "model.yaml"
        try:
            body = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise BadModel(f"{path} can't be read: {error}") from error
        given = {"precision": precision, "compile": compile, "device": device}
        if isinstance(body, Mapping):
            body = {**body, **{key: value for key, value in given.items() if value is not None}}
        return cls._parse(body, path, checkpoint)

    @classmethod
    def _parse(cls, body: Any, path: Path, checkpoint: Path | None) -> ModelSource:
        known = [f.name for f in fields(cls)]
        if not isinstance(body, Mapping) or not set(body) <= set(known) or not body.get("name"):
            raise BadModel(f"{path}: an object with `name` and no keys but {', '.join(known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()}
        source = cls(**values)
        if source.precision not in (*PRECISIONS, "auto"):
            raise BadModel(f"{path}: precision is one of {', '.join(PRECISIONS)}, auto")
        if source.device not in ("cpu", "cuda"):
            raise BadModel(f"{path}: device is cpu or cuda, not {source.device!r}")
        if type(source.cuda_graphs) is not bool:
            raise BadModel(f"{path}: cuda_graphs is true or false, not {source.cuda_graphs!r}")
        where = checkpoint or (path.parent / source.checkpoint if source.checkpoint else None)
        if where is None and not (source.architecture and source.pretrained):
            raise BadModel(f"{path}: give `checkpoint`, or `architecture` and `pretrained`")
        if where is not None and not where.is_dir():
            raise BadModel(f"the checkpoint {where} is no folder: give one in the hub's layout")
        return cls(**{**vars(source), "checkpoint": str(where.resolve()) if where else None})


@dataclass(frozen=True)
class LoadedSource:
    """open_clip's own model (fp32, eval) and tokenizer, and the config that rebuilds them without a network."""

    model: Any
    tokenizer: Any
    config: dict[str, Any]


def load(source: ModelSource) -> LoadedSource:
    """Raises BadModel that says what could not be had."""
    import open_clip

    identity = f"local-dir:{source.checkpoint}" if source.checkpoint else str(source.architecture)
    if source.checkpoint and not (Path(source.checkpoint) / CONFIG_FILE).is_file():
        raise BadModel(f"{source.checkpoint} has no {CONFIG_FILE}: it is not a checkpoint in the hub's layout")
    try:
        model = open_clip.create_model(
            identity, pretrained=None if source.checkpoint else source.pretrained, require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(identity)
    except Exception as error:  # open_clip and the hub raise many kinds
        raise BadModel(
            f"the weights of {source.name} can't be loaded from {source.checkpoint or source.pretrained}: {error}\n"
            "With a network open_clip fetches them; without one, pass --checkpoint DIR"
        ) from error
    config = {"model_cfg": _model_config(source), "preprocess_cfg": open_clip.get_model_preprocess_cfg(model)}
    return LoadedSource(model.eval().requires_grad_(False), tokenizer, json.loads(json.dumps(config)))


def _model_config(source: ModelSource) -> Any:
    import open_clip

    if source.checkpoint:
        return json.loads((Path(source.checkpoint) / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"]
    return open_clip.get_model_config(source.architecture)
