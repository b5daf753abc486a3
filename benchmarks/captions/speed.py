"""How fast captions are beside open_clip's `generate` of the same pictures, and what one step costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.captions.open_clip_captions import OpenClipCaptions
from benchmarks.captions.ours import captions
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner

_TOKENS = 16  # in the cache of the step that is timed: a caption's middle


def against_open_clip(
    reference: OpenClipCaptions,
    plain: Captioner,
    compiled: Captioner,
    fast: Captioner,
    pixels: Tensor,
    ask: CaptionAsk,
    rounds: int,
    console: Console,
) -> dict[str, float]:
    """Captions/s of each arm, medians of rounds in which all arms take turns."""
    arms: dict[str, tuple[int, Callable[[], object]]] = {
        "open_clip_batch_1": (1, lambda: reference.beam(pixels[:1], ask.max_tokens, ask.beams, ask.groups)),
        "open_clip_batch_4": (4, lambda: reference.beam(pixels[:4], ask.max_tokens, ask.beams, ask.groups)),
        "fp32_eager_batch_1": (1, lambda: captions(plain, pixels[:1], ask, 1)),
        "fp32_eager_batch_4": (4, lambda: captions(plain, pixels[:4], ask, 4)),
        "fp32_batch_1": (1, lambda: captions(compiled, pixels[:1], ask, 1)),
        "fp32_batch_4": (4, lambda: captions(compiled, pixels[:4], ask, 4)),
        "int8_compiled_batch_1": (1, lambda: captions(fast, pixels[:1], ask, 1)),
        "int8_compiled_batch_8": (8, lambda: captions(fast, pixels[:8], ask, 8)),
    }
    for name, (_, run) in arms.items():
        if not name.startswith("open_clip"):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, (_, run) in arms.items():
            seconds[name].append(_seconds(run))
    rates = {name: count / statistics.median(seconds[name]) for name, (count, _) in arms.items()}
    console.print({name: round(rate, 3) for name, rate in rates.items()})
    return {f"captions_per_s_{name}": rate for name, rate in rates.items()}


def step_ms(captioner: Captioner, pictures: int = 1, lanes: int = 1, rounds: int = 40) -> float:
    """One step of `pictures` × `lanes` rows, the median."""
    decoder = captioner.decoder
    memories = captioner.remember(torch.zeros(pictures, 3, *captioner.image_size, dtype=torch.uint8))
    cross = torch.cat([memory.cross for memory in memories], dim=2)
    rows = (pictures, lanes)
    ids, places = torch.full(rows, captioner.ids.start), torch.full(rows, _TOKENS)
    past = torch.zeros(_TOKENS, decoder.layers, 2, *rows, decoder.width, dtype=decoder.cache_dtype)
    given = (ids, places, past, torch.zeros(*rows, _TOKENS), torch.zeros(rows), cross)
    for _ in range(3):
        captioner.step(*given)
    return statistics.median(_seconds(lambda: captioner.step(*given)) for _ in range(rounds)) * 1e3


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
