"""The demo model with its attribute heads, its losses and its optimiser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo.attributes import HEADS, IGNORE

MODEL: dict[str, Any] = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 48, "heads": 3, "layers": 4},
}


PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def write_config(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}, indent=2)
    (directory / "open_clip_config.json").write_text(text + "\n", encoding="utf-8")


class Learner(nn.Module):
    """The CLIP model with its attribute heads."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleDict({name: nn.Linear(MODEL["embed_dim"], size) for name, size in HEADS.items()})

    def forward(
        self, images: Tensor, ids: Tensor, attributes: Tensor, true: Tensor, wrong: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Contrastive and attribute loss.

        `true` (B, B) bool: captions that hold for an image, its own among them; the others of these are no negatives.
        `wrong` (R, L): ids of captions that nearly hold for the images `rows` (R,), told apart by a loss of their own.
        """
        features = self.model.encode_image(images)
        texts, nearly = self.model.encode_text(torch.cat([ids, wrong]), normalize=True).split([len(ids), len(wrong)])
        units, scale = functional.normalize(features, dim=-1), self.model.logit_scale.exp()
        target = torch.arange(len(images))
        others = true & ~torch.eye(len(images), dtype=torch.bool)
        logits = (scale * units @ texts.T).masked_fill(others, float("-inf"))
        contrastive = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
        margins = scale * (units[rows] * (texts[rows] - nearly)).sum(dim=1)
        contrastive = contrastive + 0.3 * functional.softplus(-margins).mean()
        return contrastive, self.attribute_loss(features, attributes)

    def attribute_loss(self, features: Tensor, attributes: Tensor) -> Tensor:
        """Of image vectors (B, D) before they are normalised, and their class numbers (B, heads)."""
        losses = [
            functional.cross_entropy(head(features), attributes[:, i], ignore_index=IGNORE)
            for i, head in enumerate(self.heads.values())
        ]
        return torch.stack(losses).mean()


def fit_heads(learner: Learner, images: Tensor, attributes: Tensor, steps: int = 200) -> None:
    """Heads for a model that was trained before and has lost them; the model stays as it is."""
    with torch.no_grad():
        features = torch.cat([learner.model.encode_image(part) for part in images.split(256)])  # type: ignore[no-untyped-call]
    fitting = torch.optim.Adam(learner.heads.parameters(), lr=0.02)
    for _ in range(steps):
        fitting.zero_grad()
        learner.attribute_loss(features, attributes).backward()  # type: ignore[no-untyped-call]
        fitting.step()


def optimiser(learner: Learner, rate: float) -> torch.optim.AdamW:
    """Weight decay on matrices only; never on the embedding, whose unused rows it would shrink."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in learner.named_parameters():
        (decay if parameter.ndim >= 2 and "embedding" not in name else plain).append(parameter)
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)
