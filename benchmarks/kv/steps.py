"""How long a step takes with each cache: whole captions, so that blocks are taken, shared and copied as they are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from random import Random

import torch

from benchmarks.kv.arms import choice_of
from clip_core.caption_caches.store import CacheStore
from clip_core.captions.captioner import Captioner, Memory
from clip_core.captions.grid import Grid

TOKENS = 14


def step_ms(captioners: Mapping[str, Captioner], pictures: int, lanes: int, rounds: int) -> dict[str, float]:
    """By arm the median of its rounds, in which all arms take turns. With several lanes beams move after a step."""
    memories = {id(captioner): _memory(captioner) for captioner in captioners.values()}
    found: dict[str, list[float]] = {name: [] for name in captioners}
    for number in range(rounds + 1):
        for name, captioner in captioners.items():
            ms = _caption(captioner, name, memories[id(captioner)], pictures, lanes)
            if number:  # the first round warms up
                found[name].append(ms)
    return {name: statistics.median(each) for name, each in found.items()}


def _memory(captioner: Captioner) -> Memory:
    return captioner.remember(torch.zeros(1, 3, *captioner.image_size, dtype=torch.uint8))[0]


def _caption(captioner: Captioner, name: str, memory: Memory, pictures: int, lanes: int) -> float:
    store = CacheStore(choice_of(name), captioner.cache_shape, pictures * lanes, contiguous=captioner.programs.compiled)
    grid: Grid[int] = Grid(captioner, lanes, store)
    for picture in range(pictures):
        grid.put(picture, memory, TOKENS)
    rows, random = len(grid.places) * lanes, Random(1)
    started = time.perf_counter()
    for position in range(TOKENS):
        leaders = _leaders(rows, lanes, position) if store.shares else None
        grid.step([captioner.ids.start + position - TOKENS] * rows, [position] * rows, leaders)
        if lanes > 1:
            for picture in range(pictures):
                grid.move(picture, _parents(random, lanes, position))
    return (time.perf_counter() - started) / TOKENS * 1e3


def _leaders(rows: int, lanes: int, position: int) -> Sequence[int]:
    """The beams of a picture begin alike."""
    return [row - row % lanes if position == 0 else row for row in range(rows)]


def _parents(random: Random, lanes: int, position: int) -> list[int]:
    """All from the first one at the start; then two beams end in a step, and two others have two children."""
    if position == 0:
        return [0] * lanes
    gone = random.sample(range(lanes), min(2, lanes - 1))
    kept = [lane for lane in range(lanes) if lane not in gone]
    return [random.choice(kept) if lane in gone else lane for lane in range(lanes)]
