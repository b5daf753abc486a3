"""ModelSpec: the facts of a packaged model that every part needs, and the fingerprint that ties vectors to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel

SPEC_FILE = "model_spec.json"
CANARIES_FILE = "canaries.json"
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
SCALES_FILE = "activation_scales.json"
TEXT_CONFIG_FOLDER = "text_config"  # what describes a Hugging Face text tower, so that nobody asks the hub for it
KINDS = ("text", "image", "multimodal")
CAPTION = "caption"  # the kind of a captioner's archive, which has no vectors
PRECISIONS = ("fp32", "bf16", "fp16", "int8", "int8-static", "fp8")


@dataclass(frozen=True)
class ModelSpec:
    """What `model_spec.json` in a .mar says; architecture and preprocessing stand in `open_clip_config.json`."""

    name: str
    kind: str  # which towers are packed: text, image or multimodal (both); or a captioner
    dim: int  # of its vectors; 0 for a captioner
    context_length: int
    fingerprint: str
    precision: str = "fp32"
    compile: bool = False
    cuda_graphs: bool = True  # of no effect on a CPU
    cosine_floor: float = 0.999
    build_key: str = ""
    matryoshka_dimensions: tuple[int, ...] = ()  # what its vectors may be cut to; most models: nothing
    logit_scale: float | None = None  # what its loss multiplied cosines by; None: not known
    logit_bias: float | None = None  # of a sigmoid loss; None: a softmax, or not known
    licence: str | None = None
    source: str | None = None  # where the weights came from, such as hf-hub:ORG/NAME
    revision: str | None = None  # of the source, such as a commit of the hub's repository
    weights_sha256: str | None = None  # of the file that the weights came in

    @classmethod
    def read(cls, model_dir: Path) -> ModelSpec:
        """Raises BadModel when the file is missing or is not a spec."""
        path = model_dir / SPEC_FILE
        try:
            return cls.parse(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise BadModel(f"{path.name} can't be read: {error}; rebuild with `clipserve archive build`") from error

    @classmethod
    def parse(cls, body: object) -> ModelSpec:
        """Raises BadModel that names what is missing or unknown."""
        if not isinstance(body, Mapping):
            raise BadModel(f"{SPEC_FILE} holds no object")
        try:
            spec = cls(**{**body, "matryoshka_dimensions": tuple(body.get("matryoshka_dimensions", ()))})
        except TypeError as error:
            known = ", ".join(field.name for field in fields(cls))
            raise BadModel(f"{SPEC_FILE}: {error}; the fields are {known}") from error
        if spec.kind not in (*KINDS, CAPTION) or spec.precision not in PRECISIONS:
            raise BadModel(f"{SPEC_FILE}: kind is one of {(*KINDS, CAPTION)}, precision one of {PRECISIONS}")
        return spec

    def write(self, model_dir: Path) -> None:
        (model_dir / SPEC_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def digest(*parts: bytes) -> str:
    """SHA-256 of length-prefixed parts, so that no two lists of parts share a digest."""
    return digest_of(parts)


def digest_of(parts: Iterable[bytes]) -> str:
    """The same of parts that need not be held all at once, such as weights."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values, equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def fingerprint(*, weights: str, tokenizer: str, config: Mapping[str, Any]) -> str:
    """Two digests and the open_clip config (architecture and preprocessing) → 16 hex digits.

    Vectors with different fingerprints are never comparable.
    """
    return digest(weights.encode(), tokenizer.encode(), canonical(config))[:16]
