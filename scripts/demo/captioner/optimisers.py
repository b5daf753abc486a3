"""Muon for the transformers' matrices, AdamW for everything else (Jordan et al., Muon, 2024)."""

from __future__ import annotations

import torch
from torch import nn

from scripts.demo.captioner.learner import CaptionLearner

IN_BLOCKS = ("resblocks", "cross_attn", "attn_pool.attn")


def optimisers(learner: CaptionLearner, rate: float) -> list[torch.optim.Optimizer]:
    """`rate` is Muon's; AdamW's is half of it. Weight decay on matrices only."""
    blocks: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in learner.named_parameters():
        (blocks if parameter.ndim == 2 and any(part in name for part in IN_BLOCKS) else others).append(parameter)
    return [
        torch.optim.Muon(blocks, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate / 2, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def set_rates(steps: list[torch.optim.Optimizer], share: float) -> None:
    """Every learning rate to a share of its peak."""
    for each in steps:
        for group in each.param_groups:
            group["peak"] = group.get("peak", group["lr"])
            group["lr"] = group["peak"] * share
