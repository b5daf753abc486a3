"""What is asked of the captioner: tokens as people's captions have, since random weights never end by themselves.

Flickr8k's captions have 13 tokens in the mean, and one in a hundred has more than 25.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor

from clip_core.captions.ask import CaptionAsk

Request = tuple[Tensor, CaptionAsk]
LOADS = ("beam", "greedy", "mixed")
MEAN = 13
BEAM = CaptionAsk(method="beam", beams=6, groups=1, max_tokens=MEAN + 2)  # six rows that differ
GREEDY = CaptionAsk(method="greedy", max_tokens=MEAN + 2)


def requests(load: str, count: int, size: tuple[int, int], context: int, seed: int = 5) -> Iterator[Request]:
    """Pictures (3, H, W) uint8 of noise, and what is asked. `mixed`: 4 tokens to all of the context, half by beams."""
    random, generator = Random(seed), torch.Generator().manual_seed(seed)
    for place in range(count):
        pixels = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        tokens = min(25, max(6, round(random.gauss(MEAN, 4)))) + 2
        beam = load == "beam" or (load == "mixed" and place % 2 == 0)
        if load == "mixed":
            tokens = random.randint(4, context)
        tokens, least = min(tokens, context), min(5, tokens - 1)
        yield pixels, CaptionAsk("beam" if beam else "greedy", max_tokens=tokens, min_tokens=least, groups=1)
