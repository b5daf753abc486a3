"""open_clip's own captioning, with how narrowly it decided.

`CoCa.generate` imports transformers' beam search, which release 5 dropped. The last release that has it is installed
in a folder of its own (`make setup-captions`), which must come first on PYTHONPATH.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.inputs.tokens import Tokenizer

NARROW = 1e-4  # below it, two ways of adding the same numbers may decide differently


@dataclass(frozen=True)
class OpenClipCaption:
    """One picture's caption: its ids without padding behind them, and the least distance between two choices."""

    ids: tuple[int, ...]
    margin: float


class OpenClipCaptions:
    """The model of a checkpoint's folder. Raises ImportError without the transformers that it needs."""

    def __init__(self, folder: Path) -> None:
        with_beam_search()
        import open_clip

        self.model: Any = open_clip.create_model(f"local-dir:{folder}").eval()
        self.preprocessing = Preprocessing.of_model(self.model)
        reference = Tokenizer.load(folder).reference
        self.start, self.end = int(reference.sot_token_id), int(reference.eot_token_id)

    def greedy(self, pixels: Tensor, longest: int, prompt: list[int] | None = None) -> list[OpenClipCaption]:
        """(B, 3, H, W) uint8 → one caption a picture."""
        margins = [float("inf")] * len(pixels)

        def watch(_: Any, given: tuple[Tensor, ...], out: dict[str, Tensor]) -> None:
            text, logits = given[1], out["logits"][:, -1].clone()
            logits[:, self.end] -= float("inf") if text.shape[1] < 5 else 0
            best = logits.topk(2).values
            for i, gap in enumerate((best[:, 0] - best[:, 1]).tolist()):
                if text.shape[1] < longest - 1 and int(text[i, -1]) not in (self.end, 0):
                    margins[i] = min(margins[i], gap)

        text = None if prompt is None else torch.tensor([prompt] * len(pixels))
        hook = self.model.register_forward_hook(watch)
        try:
            ids = self._generate(pixels, text=text, seq_len=longest, generation_type="top_k", top_k=1)
        finally:
            hook.remove()
        return [OpenClipCaption(stripped(row), margin) for row, margin in zip(ids.tolist(), margins, strict=True)]

    def beam(self, pixels: Tensor, longest: int, beams: int = 6, groups: int = 3) -> list[OpenClipCaption]:
        """(B, 3, H, W) uint8 → the best caption of each picture."""
        from open_clip import coca_model

        usual, margins = coca_model.BeamSearchScorer, [float("inf")] * len(pixels)
        coca_model.BeamSearchScorer = _watched(usual, margins)
        try:
            ids = self._generate(pixels, seq_len=longest, num_beams=beams, num_beam_groups=groups)
        finally:
            coca_model.BeamSearchScorer = usual
        return [OpenClipCaption(stripped(row), margin) for row, margin in zip(ids.tolist(), margins, strict=True)]

    def _generate(self, pixels: Tensor, **options: Any) -> Tensor:
        normal = self.preprocessing.normalize(pixels)
        ids: Tensor = self.model.generate(normal, sot_token_id=self.start, eos_token_id=self.end, **options)
        return ids


def with_beam_search() -> None:
    """Under the name by which open_clip looks for it when it is imported: call this before. Raises ImportError."""
    found: Any = importlib.import_module("transformers.generation.beam_search")
    transformers: Any = importlib.import_module("transformers")
    transformers.BeamSearchScorer = found.BeamSearchScorer


def _watched(scorer: Any, margins: list[float]) -> Any:
    """`scorer`, which notes for each picture the least gap between two candidates, and between its last texts."""

    class Watched(scorer):  # type: ignore[misc]
        def process(self, input_ids: Tensor, next_scores: Tensor, *rest: Any, **options: Any) -> Any:
            for i, row in enumerate(next_scores.tolist()):
                if not self._done[i * self.num_beam_groups + options["group_index"]]:
                    margins[i] = min(margins[i], *(one - next_one for one, next_one in pairwise(row)))
            return super().process(input_ids, next_scores, *rest, **options)

        def finalize(self, *given: Any, **options: Any) -> Any:
            done = super().finalize(*given, **options)
            for i in range(len(margins)):
                kept = sorted((beam[0] for beam in self._beam_hyps[i * self.num_beam_groups].beams), reverse=True)
                margins[i] = min([margins[i], *(one - next_one for one, next_one in pairwise(kept[:2]))])
            return done

    return Watched


def stripped(ids: Sequence[int]) -> tuple[int, ...]:
    """Without padding behind, which is id 0."""
    while ids and ids[-1] == 0:
        ids = ids[:-1]
    return tuple(ids)
