"""A captioner's own figures for drafts, measured when it is made ready: how far a draft's pass is from plain steps, and
what it costs beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from clip_core.captions.captioner import Captioner, Memory
from clip_core.captions.grid import Grid
from clip_core.captions.speculation import Speculation
from clip_core.speculation.pace import WIDTHS, DraftPace, PassCosts
from clip_core.speculation.tree import TokenTree

SAFETY = 2.0  # times the largest difference that was met
LEAST_SPREAD: Mapping[str, float] = {"fp32": 1e-3, "bf16": 0.3, "int8": 0.3}
"""By precision. A short measurement meets few roundings that turn: of coarse types this is what many of them do."""
_TOKENS = 14  # of a text that is read both ways: a caption's
_CHUNKS = (2, 5, _TOKENS)  # positions a pass
_PICTURES = 3  # that are read both ways: more are left out
_PLACES = (1, 2, 4, 8, 16)
_MOST_S = 10.0  # after which no larger grid is measured: drafts are for few rows at once
_ROUNDS = 5
_MOST_ROWS = 256  # of a pass that is tried: larger ones never pay


def suits(captioner: Captioner) -> bool:
    """Whether drafts can pay: not beside compiled steps, which passes are not, nor in so short a context."""
    return not captioner.programs.compiled and captioner.context_length > _TOKENS + 1


def calibrate(captioner: Captioner, pixels: Tensor) -> Speculation:
    """With pictures (B, 3, H, W) uint8 like those to come, for a captioner that it suits."""
    memories = captioner.remember(pixels[:_PICTURES])
    met = max(_spread(captioner, [memory], len(memories) + i) for i, memory in enumerate(memories))
    met = max(met, _spread(captioner, memories, 0))
    return Speculation(max(SAFETY * met, LEAST_SPREAD[captioner.precision]), DraftPace(costs(captioner, pixels)))


def _spread(captioner: Captioner, memories: Sequence[Memory], seed: int) -> float:
    """The largest difference, between passes and steps, of the distance of two scores. Half of the text is what the
    captioner says, half is any."""
    texts, expected = _plainly(captioner, memories, seed)
    worst = 0.0
    for chunk in _CHUNKS:
        grid = _grid(captioner, memories)
        for first in range(0, _TOKENS, chunk):
            parts = [text[first : first + chunk] for text in texts]
            found, kept = grid.extend([_with_siblings(part) for part in parts], [first] * len(grid.places))
            path = list(range(len(parts[0])))
            grid.keep(kept, [path] * len(parts), [first] * len(parts))
            off = found[: len(texts), path] - expected[:, first : first + chunk]
            worst = max(worst, float((off.amax(dim=-1) - off.amin(dim=-1)).max()))
    return worst


def _plainly(captioner: Captioner, memories: Sequence[Memory], seed: int) -> tuple[list[list[int]], Tensor]:
    """→ texts, and the scores after each of their tokens (B, _TOKENS, V)"""
    generator = torch.Generator().manual_seed(seed)
    grid = _grid(captioner, memories)
    texts = [[captioner.ids.start] for _ in memories]
    special = (captioner.ids.start, captioner.ids.end, captioner.ids.pad)
    scores = []
    for place in range(_TOKENS):
        last = [text[-1] for text in texts] + [0] * (len(grid.places) - len(texts))
        scores.append(grid.step(last, [place] * len(last))[: len(texts)])
        said = scores[-1].clone()
        said[:, special] = float("-inf")
        any_id = torch.multinomial(said.isfinite().float(), 1, generator=generator)[:, 0]
        for text, best, other in zip(texts, said.argmax(dim=-1).tolist(), any_id.tolist(), strict=True):
            text.append(best if place % 4 else other)
    return [text[:_TOKENS] for text in texts], torch.stack(scores, dim=1)


def _grid(captioner: Captioner, memories: Sequence[Memory]) -> Grid[int]:
    grid: Grid[int] = Grid(captioner, 1)
    for place, memory in enumerate(memories):
        grid.put(place, memory)
    return grid


def _with_siblings(tokens: Sequence[int]) -> TokenTree:
    """A chain, and beside it other nodes, as trees have them."""
    tree, node = TokenTree([tokens[0]]), 0
    for token in tokens[1:]:
        node = tree.add(node, token)
    for node, token in enumerate(tokens[1:]):
        tree.add(node, token + 1)
    return tree


def costs(captioner: Captioner, pixels: Tensor) -> Mapping[int, PassCosts]:
    """In the middle of a caption; processor time, the least of some rounds: others use the machine, too."""
    memory, started, found = captioner.remember(pixels[:1])[0], time.monotonic(), dict[int, PassCosts]()
    for places in _PLACES:
        if time.monotonic() - started < _MOST_S:
            found[places] = _costs_at(captioner, pixels[:1], memory, places)
    return found


def _costs_at(captioner: Captioner, pixels: Tensor, memory: Memory, places: int) -> PassCosts:
    pictures = pixels.expand(places, -1, -1, -1)
    grid = _grid(captioner, [memory] * places)
    token, count = captioner.ids.end - 1, len(grid.places)

    def read(width: int) -> Callable[[], object]:
        tree = TokenTree([token])
        for i in range(1, width):
            tree.add(i // 2, i)
        return lambda: grid.extend([tree] * count, [_TOKENS] * count)

    arms: dict[int, Callable[[], object]] = {width: read(width) for width in WIDTHS if width * places <= _MOST_ROWS}
    arms[0] = lambda: captioner.remember(pictures)
    arms[1] = lambda: grid.step([token] * count, [_TOKENS] * count)
    least = dict.fromkeys(arms, float("inf"))
    for _ in range(_ROUNDS):
        for width, run in arms.items():
            started = time.thread_time()
            run()
            least[width] = min(least[width], time.thread_time() - started)
    return PassCosts(least[0] / least[1], {width: least[width] / least[1] for width in arms if width > 1})
