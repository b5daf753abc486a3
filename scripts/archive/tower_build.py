"""A model at one precision, compiled: what `archive build` packs and `--precision auto` compares."""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.model_spec import SCALES_FILE
from clip_core.networks.causal_text import EndOfText
from clip_core.networks.int8 import Calibration
from clip_core.networks.precision import apply
from clip_core.towers.artifacts import DIRECTORY, TowerFacts
from clip_core.towers.compiling import Forward, Machine, load_package
from clip_core.towers.devices import move
from clip_core.towers.towers import build_modules, compile_tower, facts
from scripts.archive.assembly.parts import LoadedSource
from scripts.archive.gate_set import GateSet, Quality, quality
from scripts.costs import compiling
from scripts.progress import SILENT, WorkProgress

BATCH = 16
SHORT_TEXT = "a photo of a small red circle"


@dataclass(frozen=True)
class BuiltTowers:
    """Both towers at `precision`: modality → forward pass, facts, and its package where it was compiled."""

    precision: str
    forwards: dict[str, Forward]
    facts: dict[str, TowerFacts]
    packages: dict[str, Path] = field(default_factory=dict)
    scales: dict[str, dict[str, float]] = field(default_factory=dict)
    device: str = "cpu"

    @torch.inference_mode()
    def text(self, ids: Tensor) -> Tensor:
        """(B, context) → (B, D) float32."""
        known = self.facts["text"]
        cut = EndOfText(known.eos_id).cut(ids).contiguous() if known.cuts else ids
        return self.forwards["text"](move(cut, self.device)).float().cpu()

    @torch.inference_mode()
    def image(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 → (B, D) float32."""
        return self.forwards["image"](move(pixels, self.device)).float().cpu()

    def stage(self, stage: Path, parts: Iterable[str]) -> None:
        """Lay the packages, what must be known of them, and the scales where a worker looks for them."""
        if self.scales:
            (stage / SCALES_FILE).write_text(json.dumps({part: self.scales[part] for part in parts}) + "\n")
        if not self.packages:
            return
        (stage / DIRECTORY).mkdir()
        Machine.here(self.device).write(stage / DIRECTORY / "machine.json")
        for part in parts:
            (stage / DIRECTORY / f"{part}.pt2").hardlink_to(self.packages[part])
            self.facts[part].write(stage / DIRECTORY / f"{part}.json")


def build_towers(
    loaded: LoadedSource,
    precision: str,
    gate: GateSet,
    directory: Path | None,
    progress: WorkProgress = SILENT,
    device: str = "cpu",
    check: Callable[[BuiltTowers], None] = lambda _: None,
) -> BuiltTowers:
    """`directory` takes the compiled packages; None leaves the towers uncompiled.

    `check` sees them before the compiler's minutes are spent. Raises BadModel.
    """
    preprocessing = Preprocessing.of_model(loaded.model)
    modules = build_modules(copy.deepcopy(loaded.model), "multimodal", preprocessing)
    scales = _calibrate(modules, loaded, preprocessing, gate) if precision == "int8-static" else {}
    known = {part: facts(module) for part, module in modules.items()}
    for part, module in modules.items():
        modules[part] = apply(module, precision, scales.get(part), device)
    uncompiled = BuiltTowers(precision, dict(modules), known, scales=scales, device=device)
    check(uncompiled)
    if directory is None:
        return uncompiled
    packages = {part: directory / f"{precision}-{part}.pt2" for part in modules}
    for part, module in modules.items():
        cost = compiling(sum(int(each.numel()) for each in module.state_dict().values()), towers=1)
        title = f"compiling {type(module).__name__} in {precision}"
        with progress.step(title, expected_s=cost.seconds, cost=str(cost)):
            compile_tower(module, part, int(loaded.tokenizer.context_length), preprocessing.size, packages[part])
    forwards = {part: load_package(path, device) for part, path in packages.items()}
    return BuiltTowers(precision, forwards, known, packages, scales, device)


def _calibrate(
    modules: dict[str, nn.Module], loaded: LoadedSource, preprocessing: Preprocessing, gate: GateSet
) -> dict[str, dict[str, float]]:
    """The largest activations that the gate set's captions and pictures meet, as scales by layer."""
    inputs = {"text": _ids(loaded, gate.captions), "image": _pixels(preprocessing, gate)}
    scales = {}
    with torch.inference_mode():
        for part, module in modules.items():
            with Calibration(module) as calibration:
                for batch in _batches(inputs[part]):
                    module(batch)
            scales[part] = calibration.scales
    return scales


@dataclass(frozen=True)
class Judged:
    """One precision's quality and speed; `failed` says why it is out."""

    precision: str
    quality: Quality | None = None
    images_per_s: float = 0.0
    texts_per_s: float = 0.0
    failed: str | None = None


class Judge:
    """Compares towers with open_clip in fp32 on a gate set, and times them."""

    def __init__(self, loaded: LoadedSource, gate: GateSet) -> None:
        self._model = loaded.model
        self.preprocessing = Preprocessing.of_model(loaded.model)
        self.ids, self.pixels = _ids(loaded, gate.captions), _pixels(self.preprocessing, gate)
        self.short = _ids(loaded, [SHORT_TEXT] * BATCH)
        self.reference = self._reference(loaded.model)
        self.recall = quality(*self.reference, *self.reference).recall_at_10

    @torch.inference_mode()
    def _reference(self, model: Any) -> tuple[Tensor, Tensor]:
        normal = self.preprocessing.normalize
        images = torch.cat([model.encode_image(normal(batch)).float() for batch in _batches(self.pixels)])
        return images, torch.cat([model.encode_text(batch).float() for batch in _batches(self.ids)])

    @torch.inference_mode()
    def open_clip(self) -> Judged:
        """open_clip's own towers in fp32 on the CPU, which the others are compared with."""
        normal = self.preprocessing.normalize(self.pixels[:BATCH])
        return Judged(
            "open_clip fp32",
            quality(*self.reference, *self.reference),
            _rate(lambda: self._model.encode_image(normal)),
            _rate(lambda: self._model.encode_text(self.short)),
        )

    def quality(self, towers: BuiltTowers) -> Quality:
        images = torch.cat([towers.image(batch) for batch in _batches(self.pixels)])
        texts = torch.cat([towers.text(batch) for batch in _batches(self.ids)])
        return quality(images, texts, *self.reference)

    def judge(self, towers: BuiltTowers) -> Judged:
        return Judged(
            towers.precision,
            self.quality(towers),
            _rate(lambda: towers.image(self.pixels[:BATCH])),
            _rate(lambda: towers.text(self.short)),
        )


def _rate(forward: Callable[[], Tensor], rounds: int = 7) -> float:
    """Items a second, the median of `rounds`."""
    seconds = []
    items = len(forward())
    for _ in range(rounds):
        started = time.perf_counter()
        forward()
        seconds.append(time.perf_counter() - started)
    return items / statistics.median(seconds)


def _batches(rows: Tensor) -> list[Tensor]:
    return [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]


def _ids(loaded: LoadedSource, texts: list[str]) -> Tensor:
    ids: Tensor = loaded.tokenizer(texts)
    return ids


def _pixels(preprocessing: Preprocessing, gate: GateSet) -> Tensor:
    return torch.stack([preprocessing.uint8(image) for image in gate.images])
