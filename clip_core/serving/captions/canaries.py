"""A captioner's canaries: pictures with the tokens that open_clip's own forward pass gave when the archive was built.

A worker captions them as it will serve, and does not become ready when a token differs. Where the reference's best
two tokens were nearly equal, another machine or a coarser precision may choose the other one, and all that follows
differs: there the comparison of that picture ends.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler
from clip_core.errors import BadModel
from clip_core.inputs.images import decode
from clip_core.model_spec import CANARIES_FILE

_NEAR: Mapping[str, float] = MappingProxyType({"fp32": 1e-3, "bf16": 0.25, "int8": 0.5})
"""By precision: logits nearer to one another than this may change places."""
_STEPS_AT_ONCE = 16


def check(captioner: Captioner, precision: str, model_dir: Path) -> int:
    """How many tokens were compared and agreed. Raises BadModel."""
    rows = _read(model_dir / CANARIES_FILE)
    said = _captions(captioner, rows)
    near = _NEAR.get(precision, max(_NEAR.values()))
    return sum(_agreed(row, tokens, near) for row, tokens in zip(rows, said, strict=True))


def pictures(captioner: Captioner, model_dir: Path) -> Tensor:
    """The canaries' pixels (B, 3, H, W) uint8. Raises BadModel."""
    rows = _read(model_dir / CANARIES_FILE)
    return torch.stack([captioner.transform(decode(base64.b64decode(row["image"]))) for row in rows])


def _captions(captioner: Captioner, rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, ...]]:
    """The tokens after the start, of each."""
    scheduler, found = Scheduler(captioner), dict[str, tuple[int, ...]]()
    for place, row in enumerate(rows):
        ask = CaptionAsk("greedy", max_tokens=row["max_tokens"], min_tokens=row["min_tokens"])
        scheduler.add(str(place), captioner.transform(decode(base64.b64decode(row["image"]))), ask)
    while len(found) < len(rows):
        for event in scheduler.run(_STEPS_AT_ONCE):
            if event.error is not None:
                raise BadModel(f"a canary failed: {event.error.message}")
            if event.captions is not None:
                found[event.id] = event.captions[0].tokens[1:]
    return [found[str(place)] for place in range(len(rows))]


def _agreed(row: Mapping[str, Any], said: Sequence[int], near: float) -> int:
    for place, (expected, margin) in enumerate(zip(row["tokens"], row["margins"], strict=True)):
        if margin < near:
            return place
        if place >= len(said) or said[place] != expected:
            raise BadModel(
                f"canaries: token {place + 1} of a caption is not open_clip's, which is {expected}; "
                "this machine does not compute the captions that the archive was built with"
            )
    return len(row["tokens"])


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        if not rows or not all({"image", "tokens", "margins", "max_tokens", "min_tokens"} <= set(row) for row in rows):
            raise ValueError("it holds no captions")
        return rows
    except (OSError, ValueError, TypeError) as error:
        raise BadModel(f"{path.name} can't be read: {error}") from error
