"""What an encoder gives for one input."""

from __future__ import annotations

from dataclasses import dataclass

from clip_core.wire import FloatArray


@dataclass(frozen=True)
class Encoded:
    """`vector`: (D,) float32, unit norm. `tokens` counts its texts' tokens; `truncated` says that one was cut."""

    vector: FloatArray
    tokens: int | None = None
    truncated: bool = False
