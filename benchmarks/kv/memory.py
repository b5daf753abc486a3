"""One picture by itself: what each cache reserves, what of it the kernel backs, and what is attended to."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.kv.arms import choice_of
from benchmarks.kv.loads import BEAM, GREEDY, requests
from benchmarks.kv.running import run
from clip_core.captions.captioner import Captioner

ROWS = 8


def of_a_picture(captioner: Captioner, arms: Iterable[str]) -> dict[str, dict[str, dict[str, float]]]:
    """By load and arm: MB at the most, of a caption of 13 tokens."""
    ((pixels, _),) = requests("greedy", 1, captioner.image_size, captioner.context_length)
    found: dict[str, dict[str, dict[str, float]]] = {"greedy": {}, "beam": {}}
    for name in arms:
        for load, ask in (("greedy", GREEDY), ("beam", BEAM)):
            told = run(captioner, choice_of(name), [(pixels, ask)], ROWS, every=1).told()
            found[load][name] = {key: told[key] for key in ("reserved_mb", "resident_mb", "live_mb", "waste")}
    return found


def nothing_shared_mb(captioner: Captioner, rows: int) -> float:
    """By arithmetic: each beam with keys and values of its own of the picture, and of the whole context."""
    shape = captioner.cache_shape
    return rows * (captioner.picture_bytes + shape.context * shape.token_bytes) / 1e6
