"""Train the demo captioner: a tiny CoCa of open_clip, on rendered scenes. Seeded.

    python -m scripts.demo.captioner.train                  # writes archive/demo/captioner and its evaluation.json
    python -m scripts.demo.captioner.train --start FOLDER --rate 3e-4 --steps 500 --scenes 20000    # goes on from there

Its image layers begin as the demo CLIP's. There are four losses. Two train what is kept: the caption's, and CLIP's
contrastive one. Two train heads that are thrown away: they read the scene's attributes off pooled tokens, and what
every patch lies on. All leave out held-out combinations (`scripts/demo/captioner/held_out.py`).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from scripts.demo.attributes import HEADS, IGNORE
from scripts.demo.captioner.evaluate import ARCHIVE, SCENES, drawn, earlier_runs, evaluate, save
from scripts.demo.captioner.held_out import Words, words_left_out
from scripts.demo.captioner.learner import CaptionLearner, LessonBatch
from scripts.demo.captioner.lessons import SIDE, PlacedLessons, moved, patch_objects
from scripts.demo.captioner.model import VISION, new_model, write_config
from scripts.demo.captioner.optimisers import optimisers, set_rates
from scripts.demo.captioner.vocabulary import tokenizer_of, words
from scripts.demo.claims import true_of
from scripts.demo.evaluate import ARCHIVE as DEMO
from scripts.demo.scenes import OPPOSITE, TRAINED, UNSEEN, Scene, make_scene
from scripts.demo.train import save as save_weights
from scripts.demo.train import schedule
from scripts.demo.training_images import normalise

KINDS, SHARES = ("single", "several", "relation"), (0.45, 0.15, 0.4)
WEIGHTS = {"attribute": 1.0, "patch": 1.0, "caption": 2.0, "contrastive": 0.1}
KEPT = {"caption": 2.0, "contrastive": 0.1}  # where training goes on from weights whose heads are gone
ORDERED = 0.8  # share of reversed relations told from the left or upper object, so that greedy decoding has no tie
CANONICAL = 0.75  # share of captions in the one fixed form, which is what greedy decoding then says
SAVED_EVERY = 4 * 60  # seconds


class SpelledCaptions:
    """Captions as ids, with the words that the loss leaves out."""

    def __init__(self, tokenizer: Any) -> None:
        self.words: Words = {word: tokenizer.encode(word) for word in words()}
        self.sot, self.eot = tokenizer.sot_token_id, tokenizer.eot_token_id

    def encode(self, captions: list[str], scenes: list[Scene]) -> tuple[Tensor, Tensor]:
        """→ ids (B, L), each row with a pad at its end, and what is left out (3, N): rows, places, ids."""
        rows = [
            [self.sot, *(i for word in caption.split() for i in self.words[word]), self.eot] for caption in captions
        ]
        ids = torch.zeros(len(rows), max(map(len, rows)) + 1, dtype=torch.long)
        for row, each in enumerate(rows):
            ids[row, : len(each)] = torch.tensor(each)
        never = [
            (row, place + 1, token)
            for row, (caption, scene) in enumerate(zip(captions, scenes, strict=True))
            for place, token in words_left_out(caption, scene, self.words)
        ]
        return ids, torch.tensor(never).reshape(-1, 3).T


def batches(lessons: PlacedLessons, captions: SpelledCaptions, size: int, rng: Random) -> Iterator[LessonBatch]:
    """For ever; no caption appears twice in a batch."""
    patches = SIDE // VISION["patch_size"]
    for index, scenes, said in _picked(lessons.scenes, size, rng):
        pixels, moves = moved(lessons.images[index], rng)
        nearest, inside = patch_objects(lessons.discs[index], moves, patches)
        parts = lessons.kinds[index].gather(1, nearest[..., None].expand(-1, -1, 3))
        parts = torch.where(inside[..., None], parts, IGNORE)
        ids, never = captions.encode(said, scenes)
        yield LessonBatch(normalise(pixels), lessons.attributes[index], parts, ids, never, true_of(scenes, said))


def _picked(scenes: list[Scene], size: int, rng: Random) -> Iterator[tuple[list[int], list[Scene], list[str]]]:
    """Indices, the scenes as they are told, and captions."""
    order = list(range(len(scenes)))
    while True:
        rng.shuffle(order)
        chosen: dict[str, tuple[int, Scene]] = {}
        for i in order:
            scene = mostly_from_the_left_or_top(scenes[i], rng)
            said = scene.canonical_caption() if rng.random() < CANONICAL else scene.caption(rng)
            chosen.setdefault(said, (i, scene))
            if len(chosen) == size:
                yield [i for i, _ in chosen.values()], [scene for _, scene in chosen.values()], list(chosen)
                chosen = {}


def mostly_from_the_left_or_top(scene: Scene, rng: Random) -> Scene:
    """The same scene; "a ring right of a star" mostly becomes "a star left of a ring"."""
    if scene.relation not in ("right of", "below") or rng.random() >= ORDERED:
        return scene
    return replace(scene, objects=scene.objects[::-1], places=scene.places[::-1], relation=OPPOSITE[scene.relation])


def train(arguments: argparse.Namespace, console: Console) -> tuple[Any, float, int]:
    """Returns the trained model, the minutes that drawing and training took, and the steps taken.

    Fewer steps than asked for when `minutes` run out; the learning rate comes down in time for either.
    """
    started = saved = time.monotonic()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    rng = Random(arguments.seed)
    scenes = [make_scene(rng, TRAINED, rng.choices(KINDS, SHARES)[0]) for _ in range(arguments.scenes)]
    lessons = PlacedLessons.of(scenes, arguments.seed, console, arguments.threads)
    unseen = [scene for kind in KINDS for scene in drawn(kind, UNSEEN, arguments.seed + 7, 100)]
    probe = PlacedLessons.of(unseen, 1, console, arguments.threads)
    learner = CaptionLearner(started_model(arguments.out, arguments.start, arguments.trunk))
    weights = KEPT if arguments.start else WEIGHTS
    source = batches(lessons, SpelledCaptions(tokenizer_of(arguments.out)), arguments.batch, rng)
    steps = optimisers(learner, arguments.rate)
    course = Course(arguments.steps, arguments.minutes * 60 - (time.monotonic() - started))
    taken = 0
    while (gone := course.gone(taken)) < 1:
        set_rates(steps, schedule(taken, gone))
        losses = take_step(learner, steps, next(source), weights)
        taken += 1
        if taken % 100 == 0 or taken == 1:
            said = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            line = f"step {taken} {said} | {probed(learner, probe)} {(time.monotonic() - started) / 60:.1f} min"
            console.print(line, highlight=False, soft_wrap=True)
        if time.monotonic() - saved > SAVED_EVERY:
            save_weights(learner.model, arguments.out)
            saved = time.monotonic()
    return learner.model.eval(), (time.monotonic() - started) / 60, taken


def started_model(out: Path, start: Path | None, trunk: Path) -> Any:
    """What training begins with: the captioner in `start`, or a new one with the image layers of `trunk`."""
    import open_clip

    return open_clip.create_model(f"local-dir:{start}") if start else new_model(out, trunk)


class Course:
    """How much of the training is over: in steps or in time, whichever ends first."""

    def __init__(self, steps: int, seconds: float) -> None:
        self.steps, self.seconds, self.begun = steps, seconds, time.monotonic()

    def gone(self, taken: int) -> float:
        return max(taken / self.steps, (time.monotonic() - self.begun) / self.seconds)


def take_step(
    learner: CaptionLearner, steps: list[torch.optim.Optimizer], batch: LessonBatch, weights: dict[str, float]
) -> dict[str, Tensor]:
    """→ each loss before the step"""
    losses = learner(batch)
    for each in steps:
        each.zero_grad()
    torch.stack([weight * losses[name] for name, weight in weights.items()]).sum().backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    for each in steps:
        each.step()
    with torch.no_grad():
        learner.model.logit_scale.clamp_(0, math.log(100))
    return {name: loss.detach() for name, loss in losses.items()}


@torch.no_grad()
def probed(learner: CaptionLearner, probe: PlacedLessons) -> str:
    """What training is watched by: how often the heads are right about unseen scenes."""
    _, tokens, _ = learner.encode_image(normalise(probe.images))
    known = probe.attributes != IGNORE
    right = torch.stack([each.argmax(dim=1) for each in learner.read(tokens)], dim=1) == probe.attributes
    shares = (right & known).sum(dim=0) / known.sum(dim=0)
    return " ".join(f"{name} {share:.2f}" for name, share in zip(HEADS, shares, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ARCHIVE, help="where the checkpoint goes")
    parser.add_argument("--trunk", type=Path, default=DEMO, help="the CLIP whose image layers it begins with")
    parser.add_argument("--start", type=Path, help="a captioner to go on from, without heads; take a tenth of the rate")
    parser.add_argument("--minutes", type=float, default=38.0, help="stop after this long")
    parser.add_argument("--steps", type=int, default=5000, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=64, help="pairs in a step")
    parser.add_argument("--scenes", type=int, default=100_000, help="scenes rendered to learn from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate of the matrices")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console()
    write_config(arguments.out)
    model, minutes, taken = train(arguments, console)
    save_weights(model, arguments.out)
    run = {
        "command": "python -m scripts.demo.captioner.train",
        "arguments": {key: value for key, value in vars(arguments).items() if key not in ("out", "trunk", "start")},
        "minutes": round(minutes, 1),
        "steps": taken,
    }
    report = {
        "runs": [*(earlier_runs(arguments.start) if arguments.start else []), run],
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "scenes_per_group": SCENES,
        "shares": evaluate(arguments.out),
    }
    save(arguments.out, report)
    console.print_json(data=report)


if __name__ == "__main__":
    main()
