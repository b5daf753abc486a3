"""What every form of weights comes down to: open_clip's configuration, a state dict, and files of Hugging Face's."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from clip_core.inputs.tokens import Tokenizer
from clip_core.model_spec import digest_of, fingerprint
from scripts.archive.assembly.canonical import canonical_config
from scripts.archive.assembly.head import TrainedHead
from scripts.hub.provenance import Provenance

LOCAL = "local"  # what a tokenizer is called that lies beside the weights, and on no hub
State = dict[str, Tensor]


@dataclass(frozen=True)
class ModelParts:
    """`state` has open_clip's names. `notes` say what was concluded rather than read."""

    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]  # what is known of it: open_clip's defaults stand for the rest
    state: State
    folders: tuple[Path, ...] = ()  # where a tokenizer and the text tower's configuration may lie, best first
    notes: tuple[str, ...] = field(default=())
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True)
class LoadedSource:
    """open_clip's own model (fp32, eval) and tokenizer, and the config that rebuilds them without a network.

    `text_config`: the folder of the configuration of a Hugging Face text tower, where the model has one. `merges`: the
    file of a vocabulary that is not CLIP's.
    """

    model: Any
    tokenizer: Any
    config: dict[str, Any]
    text_config: Path | None = None
    provenance: Provenance = field(default_factory=Provenance)
    merges: Path | None = None
    head: TrainedHead = field(default_factory=TrainedHead)

    @cached_property
    def fingerprint(self) -> str:
        """Of all weights, the tokenizer and the configuration, however that is written; equal for all three kinds."""
        parts = (
            part
            for name, tensor in sorted(self.model.state_dict().items())
            for part in (name.encode(), str(tuple(tensor.shape)).encode(), tensor.contiguous().numpy().tobytes())
        )
        tokenizer = Tokenizer(self.tokenizer, int(self.tokenizer.context_length))
        return fingerprint(weights=digest_of(parts), tokenizer=tokenizer.digest(), config=canonical_config(self.config))
