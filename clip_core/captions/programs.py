"""The two passes of a captioner, as modules of its own or compiled ahead of time: no request waits for a compiler.

compiled/machine.json              what they were compiled for
compiled/caption_image.pt2         pictures → keys and values
compiled/caption_step.pt2          one token of every row
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from clip_core.caption_caches.cache import rounded
from clip_core.networks.coca_decoder import CocaDecoder
from clip_core.networks.coca_image import CocaImage
from clip_core.towers.artifacts import DIRECTORY, usable
from clip_core.towers.compiling import Machine, Program, compile_program, compiler, load_program

log = logging.getLogger("clipserve.captions")
_MOST_PICTURES, _MOST_LANES = 4096, 64
_EXAMPLE = {"pictures": 3, "lanes": 2, "tokens": 8}  # what kernels are chosen at; a package takes any number


class RememberProgram(Protocol):
    def __call__(self, pixels: Tensor) -> Tensor:
        """(P, 3, H, W) uint8 → (M, 2, P, H, S, D)"""


class StepProgram(Protocol):
    def __call__(
        self, ids: Tensor, places: Tensor, past: Any, shown: Tensor, own: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `CocaDecoder.step`; `past` of a compiled one is a tensor."""


class ExtendProgram(Protocol):
    def __call__(
        self, ids: Tensor, places: Tensor, past: Tensor, text_bias: Tensor, bias: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `CocaDecoder.extend`."""


@dataclass(frozen=True)
class Programs:
    """`extend` is never compiled: where steps are, drafts don't pay."""

    remember: RememberProgram
    step: StepProgram
    extend: ExtendProgram
    compiled: bool


def load(
    model_dir: Path,
    image: CocaImage,
    decoder: CocaDecoder,
    size: tuple[int, int],
    compiled: bool,
    *,
    packaged: bool = True,
) -> Programs:
    """Compiled ones from the archive where it may hold them (`packaged`), or else compiled now.

    The modules themselves where nothing compiles.
    """
    if compiled and packaged and usable(model_dir, "cpu"):
        return _load(model_dir / DIRECTORY, decoder)
    if compiled and compiler() is not None:
        log.warning("compiling the captioner at start, which takes a minute or so")
        with tempfile.TemporaryDirectory(prefix="clipserve-compile-") as temporary:
            write(Path(temporary), image, decoder, size)
            return _load(Path(temporary), decoder)
    if compiled:
        log.warning("there is no C++ compiler: the captioner runs uncompiled, and slower")
    return Programs(_Remember(image, decoder).eval(), decoder.step, decoder.extend, compiled=False)


def write(directory: Path, image: CocaImage, decoder: CocaDecoder, size: tuple[int, int]) -> None:
    """Both packages, and what machine they are for. Raises BadModel."""
    directory.mkdir(parents=True, exist_ok=True)
    pictures = torch.export.Dim("pictures", min=1, max=_MOST_PICTURES)
    lanes = torch.export.Dim("lanes", min=1, max=_MOST_LANES)
    tokens = torch.export.Dim("tokens", min=2, max=rounded(decoder.context_length))
    pixels = torch.zeros(_EXAMPLE["pictures"], 3, *size, dtype=torch.uint8)
    remember = _Remember(image, decoder).eval()
    compile_program(remember, (pixels,), ({0: pictures},), directory / "caption_image.pt2")
    rows = {0: pictures, 1: lanes}
    shapes = (rows, rows, {0: tokens, 3: pictures, 4: lanes}, {**rows, 2: tokens}, rows, {0: pictures})
    compile_program(_Step(decoder).eval(), _examples(remember, decoder, pixels), shapes, directory / "caption_step.pt2")
    Machine.here().write(directory / "machine.json")


def _examples(remember: nn.Module, decoder: CocaDecoder, pixels: Tensor) -> tuple[Tensor, ...]:
    rows, tokens = (_EXAMPLE["pictures"], _EXAMPLE["lanes"]), _EXAMPLE["tokens"]
    with torch.no_grad():
        memory: Tensor = remember(pixels).movedim(2, 0).contiguous()
    past = torch.zeros(tokens, decoder.layers, 2, *rows, decoder.width, dtype=decoder.cache_dtype)
    ids = torch.ones(rows, dtype=torch.int64)
    return ids, ids.clone(), past, torch.zeros(*rows, tokens), torch.zeros(rows), memory


def _load(directory: Path, decoder: CocaDecoder) -> Programs:
    remember = load_program(directory / "caption_image.pt2")
    step = load_program(directory / "caption_step.pt2")
    return Programs(lambda pixels: remember([pixels])[0], _unpacked(step), decoder.extend, compiled=True)


def _unpacked(step: Program) -> StepProgram:
    def run(
        ids: Tensor, places: Tensor, past: Any, shown: Tensor, own: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        by_picture = memory.movedim(2, 0).contiguous()  # as caches have it: no copy
        logits, kept = step([ids, places, past, shown, own, by_picture])
        return logits, kept

    return run


class _Remember(nn.Module):
    def __init__(self, image: CocaImage, decoder: CocaDecoder) -> None:
        super().__init__()
        self.image, self.decoder = image, decoder

    def forward(self, pixels: Tensor) -> Tensor:
        return self.decoder.remember(self.image(pixels))


class _Step(nn.Module):
    """With the memory by picture, (P, M, 2, H, S, D): as it lies in caches."""

    def __init__(self, decoder: CocaDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, ids: Tensor, places: Tensor, past: Tensor, shown: Tensor, own: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.decoder.step(ids, places, past, shown, own, memory.movedim(0, 2))
