"""Whether all caches say the same, and whether captions that were preempted do: the demo's captioner, unseen scenes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.captions.demo import FOLDER, scenes
from benchmarks.kv.arms import ARMS, PAGED, STATIC, absorbed, choice_of
from benchmarks.kv.loads import Request
from benchmarks.kv.running import run, tokens_that_differ
from clip_core.caption_caches.store import CacheStore
from clip_core.captions.ask import CaptionAsk
from clip_core.captions.captioner import Captioner

ROWS = 96


def compared(precision: str, arms: Iterable[str], count: int, threads: int) -> dict[str, dict[str, float]]:
    """By arm: tokens that differ from static's over `count` pictures, each greedy, by 6 beams, and sampled."""
    plain = Captioner.load(FOLDER, precision=precision, threads=threads)
    folded = Captioner.load(FOLDER, precision=precision, threads=threads, absorbed=True)
    requests = _requests(scenes(plain)[:count], plain.context_length)
    first = run(plain, choice_of(STATIC), requests, ROWS)
    found = {}
    for name in arms:
        ran = run(folded if choice_of(name).absorbed else plain, choice_of(name), requests, ROWS)
        found[name] = {"tokens_that_differ": float(tokens_that_differ(first, ran))}
    return found


def preempted(captioner: Captioner, requests: list[Request], arms: Iterable[str]) -> dict[str, dict[str, float]]:
    """By arm: tokens that change when the budget is so small that captions give way again and again."""
    found = {}
    for name in arms:
        free = run(captioner, choice_of(name), requests, ROWS)
        store = CacheStore(choice_of(name), captioner.cache_shape, ROWS)
        alone = max(store.alone(ask.rows, ask.max_tokens) for _, ask in requests) + captioner.picture_bytes
        tight = run(captioner, choice_of(name, int(1.3 * alone)), requests, ROWS)
        found[name] = {
            "preempted": float(tight.preempted),
            "tokens_again": float(tight.tokens_again),
            "tokens_changed": float(tokens_that_differ(free, tight)),
        }
    return found


def demo(precision: str, threads: int, count: int) -> tuple[Captioner, list[Request]]:
    captioner = Captioner.load(FOLDER, precision=precision, threads=threads)
    return captioner, _requests(scenes(captioner)[:count], captioner.context_length)


def all_arms() -> list[str]:
    return [*ARMS, absorbed("growing"), absorbed(PAGED)]


def _requests(pixels: Tensor, context: int) -> list[Request]:
    asks = (
        CaptionAsk(method="greedy", max_tokens=context),
        CaptionAsk(method="beam", beams=6, groups=1, max_tokens=context),
        CaptionAsk(method="sample", n=3, seed=3, temperature=1.2, max_tokens=context),
    )
    return [(picture, ask) for picture in torch.unbind(pixels) for ask in asks]
