"""What the encoder benchmark runs on a GPU: open_clip cast to each type, and our towers, their inputs already there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.encoders.towers import Subject
from clip_core.networks.causal_text import EndOfText
from clip_core.networks.precision import apply
from clip_core.towers.compiling import Forward, load_package
from clip_core.towers.towers import build_modules, compile_tower, facts

CASTS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PARTS = {"image": "image", "short text": "text"}  # what is measured → the tower that computes it


def package(directory: Path, what: str, precision: str) -> Path:
    """Where a tower's package is kept."""
    return directory / f"cuda-{precision}-{PARTS[what]}.pt2"


def any_batch(_: Tensor) -> bool:
    return True


@dataclass(frozen=True)
class Engine:
    """`run` computes (B, D) from the first B rows of `items`, where it `takes` so many."""

    what: str
    name: str
    run: Forward
    items: Tensor
    takes: Callable[[Tensor], bool] = any_batch


@dataclass(frozen=True)
class OurTower:
    """One tower of ours at one precision, on the device, with the largest batch of its inputs."""

    what: str
    precision: str
    module: nn.Module
    items: Tensor
    context_length: int
    size: tuple[int, int]

    @classmethod
    def build(cls, subject: Subject, what: str, precision: str, device: str) -> OurTower:
        """Texts are cut to the longest, as in a worker. Raises BadModel."""
        part = PARTS[what]
        module = build_modules(copy.deepcopy(subject.loaded.model), part, subject.preprocessing)[part]
        items = subject.pixels if part == "image" else _cut(module, subject.short)
        context = int(subject.loaded.tokenizer.context_length)
        size = subject.preprocessing.size
        return cls(what, precision, apply(module, precision, device=device), items.to(device), context, size)

    def compile(self, path: Path) -> None:
        """As an archive's packages are. Raises BadModel."""
        compile_tower(self.module, PARTS[self.what], self.context_length, self.size, path)


Compiled = Callable[[OurTower, Path, str], Forward]


def compiled(tower: OurTower, path: Path, device: str) -> Forward:
    """From `path` when an earlier run left the package there. Raises BadModel."""
    if not path.exists():
        tower.compile(path)
    return load_package(path, device)


def open_clip_engines(subject: Subject, precisions: Sequence[str], device: str) -> Iterator[Engine]:
    """open_clip's own eager passes: in float32 always, and in each other type that it can be cast to."""
    for precision in dict.fromkeys(("fp32", *precisions)):
        if precision in CASTS:
            model = copy.deepcopy(subject.loaded.model).to(device, CASTS[precision])
            name = f"open_clip {precision}"
            yield Engine("image", name, model.encode_image, subject.normal.to(device, CASTS[precision]))
            yield Engine("short text", name, model.encode_text, subject.short.to(device))


def _cut(module: nn.Module, ids: Tensor) -> Tensor:
    known = facts(module)
    return EndOfText(known.eos_id).cut(ids).contiguous() if known.cuts else ids
