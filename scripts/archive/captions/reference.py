"""Greedy captions by open_clip's own forward pass, token by token, as its `generate(generation_type="top_k", top_k=1)`.

`generate` itself does not run with the locked packages: it imports what transformers 5 no longer has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PAD = 0  # open_clip ends a caption at it, though it is a token of CLIP's vocabulary, too


@dataclass(frozen=True)
class ReferenceCaption:
    """`tokens` after the start, the end among them; `margins`: how far the best logit was above the second, of each.

    An end that the length alone has set is not among them.
    """

    tokens: tuple[int, ...]
    margins: tuple[float, ...]


@torch.inference_mode()
def greedy(model: Any, pixels: Tensor, start: int, end: int, most: int, least: int) -> ReferenceCaption:
    """`pixels` (3, H, W) float32, normalised; `most` and `least`: of the sequence, start and end counted."""
    _, image = model._encode_image(pixels[None])
    ids, margins = [start], list[float]()
    while len(ids) < most - 1 and ids[-1] not in (end, PAD):
        scores = _next_scores(model, pixels, image, ids)
        if len(ids) < least:
            scores[end] = -torch.inf
        best = torch.topk(scores, 2)
        ids.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
    return ReferenceCaption(tuple(ids[1:]), tuple(margins))


def _next_scores(model: Any, pixels: Tensor, image: Tensor, ids: list[int]) -> Tensor:
    """(V,) float32. The picture's features stand for the picture, which is not encoded again."""
    text = torch.tensor([ids])
    given = {"image_latent": image, "image_embs": image, "output_labels": False}
    logits: Tensor = model(pixels[None], text, **given)["logits"][0, -1]
    return logits.clone()
