"""The captioner with the heads that training throws away, and its losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from scripts.demo.attributes import HEADS, IGNORE
from scripts.demo.captioner.held_out import NAMES, left_out, others_left_out
from scripts.demo.captioner.model import WIDTH

FIRST, SECOND = (0, 1, 2), (6, 7, 8)  # where HEADS keeps shape, colour and texture of the two objects
NEVER = -1e4


@dataclass(frozen=True)
class LessonBatch:
    """What one step learns from.

    `pixels` (B, 3, S, S), `attributes` (B, heads), `parts` (B, P, 3) of the object on each patch, IGNORE where there is
    none; `ids` (B, L) padded with 0, `never` (3, N) rows, places and ids that the caption loss leaves out; `true`
    (B, B) bool: whose captions hold for which picture.
    """

    pixels: Tensor
    attributes: Tensor
    parts: Tensor
    ids: Tensor
    never: Tensor
    true: Tensor


class CaptionLearner(nn.Module):
    """A CoCa with one linear head for each attribute on a pooled token of its own, and three on every patch."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, size) for name, size in HEADS.items()})
        self.patch_norm = nn.LayerNorm(WIDTH)
        self.patch_heads = nn.ModuleList([nn.Linear(WIDTH, len(names)) for names in NAMES])
        self.register_buffer("table", left_out(), persistent=False)

    def forward(self, batch: LessonBatch) -> dict[str, Tensor]:
        """Each loss, by its name."""
        images, tokens, patches, texts, logits = self.networks(batch.pixels, batch.ids)
        return {
            "attribute": self.attribute_loss(tokens, batch.attributes),
            "patch": self.patch_loss(patches, batch.parts),
            "caption": caption_loss(logits, batch.ids, batch.never),
            "contrastive": contrastive_loss(images, texts, self.model.logit_scale.exp(), batch.true),
        }

    def networks(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        """→ image vectors, pooled tokens, patches, text vectors, and the logits of each token but the first; float32

        torch's fused attention takes 1.6 times as long here: on CPUs its backward pass is slow for short sequences.
        """
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            images, tokens, patches = self.encode_image(pixels)
            texts, text_tokens = self.encode_text(ids)
            logits = self.model.text_decoder(tokens, text_tokens[:, :-1])
        return images.float(), tokens.float(), patches.float(), texts.float(), logits.float()

    def encode_image(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """→ image vectors (B, D), pooled tokens (B, Q, D), patches before they are pooled (B, P, W)"""
        visual = self.model.visual
        patches = visual.transformer(visual._embeds(pixels))
        pooled, tokens = visual._pool(patches)
        return pooled @ visual.proj, tokens, patches[:, 1:]

    def encode_text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Text vectors (B, D) and tokens (B, L, D), as open_clip gives them for `ids` padded to the whole context.

        The padding is spared: every row ends in one pad at least. The class token keeps the last place's embedding.
        """
        text = self.model.text
        x, mask = text._embeds(ids)
        last = (text.cls_emb + text.positional_embedding[-1]).expand(len(ids), 1, -1)
        x = text.transformer(torch.cat([x[:, :-1], last], dim=1), attn_mask=mask)
        return text.ln_final(x[:, -1]) @ text.text_projection, x[:, :-1]

    def read(self, tokens: Tensor) -> list[Tensor]:
        """Pooled tokens (B, Q, D) → each attribute's logits (B, classes), in the order of HEADS."""
        return [head(tokens[:, i]) for i, head in enumerate(self.heads.values())]

    def attribute_loss(self, tokens: Tensor, attributes: Tensor) -> Tensor:
        logits = self.read(tokens)
        for three in (FIRST, SECOND):
            for i, out in zip(three, others_left_out(attributes[:, list(three)], self.table), strict=True):  # type: ignore[arg-type]
                logits[i] = logits[i].masked_fill(out, NEVER)
        return torch.stack([_cross_entropy(each, attributes[:, i]) for i, each in enumerate(logits)]).mean()

    def patch_loss(self, patches: Tensor, parts: Tensor) -> Tensor:
        """Every patch tells the shape, colour and texture of the object that it lies on."""
        covered = parts[..., 0] != IGNORE
        on, parts = self.patch_norm(patches[covered]), parts[covered]
        outs = others_left_out(parts, self.table)  # type: ignore[arg-type]
        logits = [head(on).masked_fill(out, NEVER) for head, out in zip(self.patch_heads, outs, strict=True)]
        return torch.stack([_cross_entropy(each, parts[:, i]) for i, each in enumerate(logits)]).mean()


def caption_loss(logits: Tensor, ids: Tensor, never: Tensor) -> Tensor:
    """Of each token but the first (B, L - 1, V), without what `never` leaves out."""
    rows, places, tokens = never
    held = logits.index_put((rows, places - 1, tokens), torch.tensor(NEVER))
    return functional.cross_entropy(held.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0)


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, true: Tensor) -> Tensor:
    """CLIP's, in which a caption that holds for another picture of the batch is no negative."""
    images, texts = functional.normalize(images, dim=-1), functional.normalize(texts, dim=-1)
    target = torch.arange(len(images))
    others = true & ~torch.eye(len(images), dtype=torch.bool)
    logits = (scale * images @ texts.T).masked_fill(others, NEVER)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """A batch in which nothing has a class counts nothing."""
    known = (classes != IGNORE).sum().clamp(min=1)
    return functional.cross_entropy(logits, classes, ignore_index=IGNORE, reduction="sum") / known
