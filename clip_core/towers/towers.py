"""The towers as they serve: from the archive's compiled packages where these fit the machine, else from its weights."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from clip_core.errors import BadModel
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.model_spec import CONFIG_FILE, SCALES_FILE, ModelSpec
from clip_core.networks.causal_text import BUCKETS, CausalTextTower, EndOfText
from clip_core.networks.modules import image_module, text_module
from clip_core.networks.open_clip_model import load_model
from clip_core.networks.precision import apply
from clip_core.towers import artifacts
from clip_core.towers.artifacts import TowerFacts
from clip_core.towers.compiling import Forward, compile_package, compiler, load_package, warm_up
from clip_core.towers.cuda_graphs import GraphedForward
from clip_core.towers.devices import move

log = logging.getLogger("clipserve.towers")
_EXAMPLES = {"cpu": 2, "cuda": 256}  # items that a package's kernels are chosen at; it takes any number


class TextTower:
    """(B, L) int64 token ids → (B, D) float32, not yet normalised. `buckets`: lengths that it cuts a batch to."""

    def __init__(self, run: Forward, facts: TowerFacts, compiled: bool, device: str = "cpu") -> None:
        self.run, self.name, self.compiled, self.device = run, facts.name, compiled, device
        self.end = EndOfText(facts.eos_id) if facts.cuts else None
        self.buckets = BUCKETS if facts.cuts else ()

    @torch.inference_mode()
    def forward(self, ids: Tensor) -> Tensor:
        return self.run(self._input(ids)).float().cpu()

    def _input(self, ids: Tensor) -> Tensor:
        cut = ids if self.end is None else self.end.cut(ids)
        return move(cut.contiguous(), self.device)

    def warm_up(self, example: Tensor) -> None:
        """`example` (1, context): every length that a batch may be cut to, so that no request meets a new one."""
        end = example.max()
        context = example.shape[1]
        for length in (*(size for size in self.buckets if size < context), context):
            ids = torch.ones_like(example)
            ids[:, length - 1] = end
            warm_up(self.forward, ids)
            _capture(self.run, self._input(ids))


class ImageTower:
    """(B, 3, H, W) uint8 pixels → (B, D) float32, not yet normalised."""

    def __init__(
        self, run: Forward, facts: TowerFacts, preprocessing: Preprocessing, compiled: bool, device: str = "cpu"
    ) -> None:
        self.run, self.name, self.compiled, self.device = run, facts.name, compiled, device
        self.size = preprocessing.size
        self.transform: Callable[[Image.Image], Tensor] = preprocessing.uint8

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Tensor:
        return self.run(move(pixels, self.device)).float().cpu()

    def warm_up(self) -> None:
        example = torch.zeros(1, 3, *self.size, dtype=torch.uint8)
        warm_up(self.forward, example)
        _capture(self.run, move(example, self.device))


@torch.inference_mode()
def _capture(run: Forward, example: Tensor) -> None:
    if isinstance(run, GraphedForward):
        run.capture(example)


def load_towers(model_dir: Path, spec: ModelSpec, device: str) -> tuple[TextTower | None, ImageTower | None]:
    """The towers of `spec.kind`. Raises BadModel when the archive's parts do not fit together."""
    preprocessing = Preprocessing.from_config(model_dir / CONFIG_FILE)
    parts = modalities(spec.kind)
    if spec.compile and artifacts.usable(model_dir, device):
        loaded = {part: artifacts.load(model_dir, part, device) for part in parts}
        compiled = True
    else:
        modules = load_modules(model_dir, spec, preprocessing, device)
        compiled = spec.compile and _can_compile()
        loaded = {
            part: (_run(module, part, spec, preprocessing, compiled, device), facts(module))
            for part, module in modules.items()
        }
    if spec.cuda_graphs and device.startswith("cuda"):
        loaded = {part: (GraphedForward(run), known) for part, (run, known) in loaded.items()}
    text = TextTower(*loaded["text"], compiled, device) if "text" in loaded else None
    image = ImageTower(*loaded["image"], preprocessing, compiled, device) if "image" in loaded else None
    return text, image


def modalities(kind: str) -> tuple[str, ...]:
    return ("text", "image") if kind == "multimodal" else (kind,)


def load_modules(model_dir: Path, spec: ModelSpec, preprocessing: Preprocessing, device: str) -> dict[str, nn.Module]:
    """Modality → module with the archive's weights at the archive's precision."""
    model = load_model(model_dir, spec.kind)
    modules = build_modules(model, spec.kind, preprocessing)
    scales = _read_scales(model_dir) if spec.precision == "int8-static" else {}
    return {part: apply(module, spec.precision, scales.get(part), device) for part, module in modules.items()}


def build_modules(model: Any, kind: str, preprocessing: Preprocessing) -> dict[str, nn.Module]:
    """Modality → float32 module around the weights of open_clip's `model`."""
    modules: dict[str, nn.Module] = {}
    if kind != "image":
        modules["text"] = text_module(model).eval()
    if kind != "text":
        modules["image"] = image_module(model, preprocessing.mean, preprocessing.std).eval()
    return modules


def facts(module: nn.Module) -> TowerFacts:
    """What must be known of a module when only its compiled form is there."""
    if isinstance(module, CausalTextTower):
        return TowerFacts(type(module).__name__, cuts=True, eos_id=module.end.eos_id)
    return TowerFacts(type(module).__name__)


def compile_tower(module: nn.Module, modality: str, context_length: int, size: tuple[int, int], path: Path) -> None:
    """Write an AOTInductor package of `module` to `path`. Raises BadModel."""
    device = next(module.parameters()).device
    items = _EXAMPLES[device.type]
    if modality == "image":
        compile_package(module, torch.zeros(items, 3, *size, dtype=torch.uint8, device=device), path)
    else:
        example = torch.ones(items, context_length, dtype=torch.int64, device=device)
        compile_package(module, example, path, context_length if facts(module).cuts else None)


def _run(
    module: nn.Module, modality: str, spec: ModelSpec, preprocessing: Preprocessing, compiled: bool, device: str
) -> Forward:
    if not compiled:
        return module
    log.warning("compiling at start, which takes a minute or so", extra={"tower": type(module).__name__})
    with tempfile.TemporaryDirectory(prefix="clipserve-compile-") as temporary:
        path = Path(temporary) / f"{modality}.pt2"
        try:
            compile_tower(module, modality, spec.context_length, preprocessing.size, path)
        except BadModel as error:
            raise BadModel(f"{error.message}; `compile: false` in model.yaml serves it uncompiled") from error
        return load_package(path, device)


def _can_compile() -> bool:
    if compiler() is not None:
        return True
    log.warning("there is no C++ compiler: the towers run uncompiled, and slower")
    return False


def _read_scales(model_dir: Path) -> Mapping[str, Mapping[str, float]]:
    try:
        scales: Mapping[str, Mapping[str, float]] = json.loads((model_dir / SCALES_FILE).read_text(encoding="utf-8"))
        return scales
    except (OSError, ValueError) as error:
        raise BadModel(f"{SCALES_FILE} can't be read: {error}") from error
