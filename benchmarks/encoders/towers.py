"""What the encoder benchmark runs: one random model, its inputs, and our towers of it in each precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks.precision import unavailable
from clip_core.towers.compiling import load_package
from clip_core.towers.towers import build_modules, facts
from scripts.archive.assembly.parts import LoadedSource
from scripts.archive.gate_set import GateSet
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


def towers(subject: Subject, directory: Path, precisions: Sequence[str], report: Report) -> dict[str, BuiltTowers]:
    """`ours <precision>`, from `directory` where an earlier run left its packages there."""
    gate, made = GateSet.rendered(16), dict[str, BuiltTowers]()
    for precision in precisions:
        if (reason := unavailable(precision)) is not None:
            report(f"{precision}: {reason}")
            continue
        paths = {part: directory / f"{precision}-{part}.pt2" for part in ("text", "image")}
        if all(path.exists() for path in paths.values()):
            modules = build_modules(copy.copy(subject.loaded.model), "multimodal", subject.preprocessing)
            known = {part: facts(module) for part, module in modules.items()}
            packages = {part: load_package(path) for part, path in paths.items()}
            made[f"ours {precision}"] = BuiltTowers(precision, packages, known, paths)
        else:
            report(f"compiling both towers in {precision}")
            made[f"ours {precision}"] = build_towers(subject.loaded, precision, gate, directory)
    return made
