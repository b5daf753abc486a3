"""What the encoder benchmark runs of ours: each precision, compiled ahead of time, eager, and by torch.compile."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks.precision import unavailable
from clip_core.towers.compiling import Forward, load_package
from clip_core.towers.towers import build_modules, facts
from scripts.archive.gate_set import GateSet
from scripts.archive.model_source import LoadedSource
from scripts.archive.tower_build import BuiltTowers, build_towers

Report = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """open_clip's model with random weights, and inputs: float pixels for it and the peers, uint8 for us, token ids."""

    loaded: LoadedSource
    preprocessing: Preprocessing
    pixels: Tensor
    normal: Tensor
    short: Tensor
    full: Tensor

    @classmethod
    def random(cls, architecture: str, batch: int) -> Subject:
        import open_clip

        torch.manual_seed(0)
        model = open_clip.create_model(architecture).eval().requires_grad_(False)
        tokenizer = open_clip.get_tokenizer(architecture)
        preprocessing = Preprocessing.of_model(model)
        pixels = torch.randint(0, 256, (batch, 3, *preprocessing.size), dtype=torch.uint8)
        return cls(
            LoadedSource(model, tokenizer, {}),
            preprocessing,
            pixels,
            preprocessing.normalize(pixels),
            tokenizer(["a photo of a small red circle"] * batch),
            tokenizer(["word " * 100] * batch),
        )


def towers(
    subject: Subject, directory: Path, precisions: Sequence[str], eager: bool, report: Report
) -> dict[str, BuiltTowers]:
    """`ours <precision>` (compiled ahead of time) and, if asked for, `ours <precision>, eager` of two."""
    gate = GateSet.rendered(16)
    made: dict[str, BuiltTowers] = {}
    for precision in precisions:
        if unavailable(precision) is not None:
            report(f"{precision}: {unavailable(precision)}")
            continue
        made[f"ours {precision}"] = _compiled(subject, precision, gate, directory, report)
        if eager and precision in ("fp32", "int8"):
            made[f"ours {precision}, eager"] = build_towers(subject.loaded, precision, gate, None)
    return made


def _compiled(subject: Subject, precision: str, gate: GateSet, directory: Path, report: Report) -> BuiltTowers:
    """From `directory` when an earlier run left its packages there."""
    paths = {part: directory / f"{precision}-{part}.pt2" for part in ("text", "image")}
    if not all(path.exists() for path in paths.values()):
        return build_towers(subject.loaded, precision, gate, directory, report)
    modules = build_modules(copy.copy(subject.loaded.model), "multimodal", subject.preprocessing)
    known = {part: facts(module) for part, module in modules.items()}
    return BuiltTowers(precision, {part: load_package(path) for part, path in paths.items()}, known, paths)


def just_in_time(subject: Subject) -> Forward:
    """torch.compile with freezing on our float32 image tower: what ahead-of-time packages are compared with."""
    from torch._inductor import config

    module = build_modules(copy.deepcopy(subject.loaded.model), "image", subject.preprocessing)["image"]
    compiled: Any = torch.compile(module, dynamic=False)

    def forward(pixels: Tensor) -> Tensor:
        with config.patch(freezing=True), torch.no_grad():
            features: Tensor = compiled(pixels)
            return features

    return forward
