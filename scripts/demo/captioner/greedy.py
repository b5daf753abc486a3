"""Greedy captions by open_clip's own forward pass: slow, short, and what other decoders are compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.inference_mode()
def greedy_captions(model: Any, tokenizer: Any, images: Tensor) -> list[str]:
    """Preprocessed pictures (B, 3, S, S) → a caption each."""
    embedded = model(images)
    ids = torch.full((len(images), 1), tokenizer.sot_token_id)
    running = torch.ones(len(images), dtype=torch.bool)
    while running.any() and ids.shape[1] < model.context_length:
        out = model(None, ids, embedded["image_features"], embedded["image_embs"], output_labels=False)
        following = out["logits"][:, -1].argmax(dim=-1).masked_fill(~running, model.pad_id)
        ids = torch.cat([ids, following[:, None]], dim=1)
        running &= following != tokenizer.eot_token_id
    return [_text(tokenizer, row) for row in ids[:, 1:].tolist()]


def _text(tokenizer: Any, ids: list[int]) -> str:
    end = tokenizer.eot_token_id
    text: str = tokenizer.decode(ids[: ids.index(end)] if end in ids else ids)
    return text.strip()
