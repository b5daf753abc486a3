"""Train the demo model: a tiny open_clip CLIP, on rendered scenes and sketches. Seeded; two cores.

    python -m scripts.demo.train                          # from nothing; writes archive/demo and its evaluation.json
    python -m scripts.demo.train --start archive/demo     # goes on from these weights

Two losses: CLIP's contrastive one on (image, caption) pairs, and cross-entropies of small linear heads that read the
scene's attributes off the image vector. The heads are thrown away; they make the image tower learn in minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo.attributes import labels
from scripts.demo.claims import true_of
from scripts.demo.evaluate import ARCHIVE, distinct_scenes, evaluate, recall_at_1
from scripts.demo.learner import Learner, fit_heads, optimiser, write_config
from scripts.demo.probe_drawings import probe_set
from scripts.demo.scenes import TRAINED, UNSEEN, Scene, make_scene
from scripts.demo.sketch import sketch
from scripts.demo.sketch_scenes import make_sketch
from scripts.demo.training_images import as_pixels, image_pool, normalise, rendered, shift

KINDS, SHARES = ("single", "several", "relation"), (0.45, 0.2, 0.35)
WEIGHTS = "open_clip_model.safetensors"
PROBES = 16  # sets of twelve drawings


@dataclass(frozen=True)
class Lessons:
    """Scenes with their pictures, (N, 3, 64, 64) uint8, and their attributes, (N, heads)."""

    scenes: list[Scene]
    images: Tensor
    attributes: Tensor


def make_lessons(arguments: argparse.Namespace, rng: Random, console: Console) -> Lessons:
    """Scenes as the gallery shows them, and sketches."""
    scenes = [make_scene(rng, TRAINED, rng.choices(KINDS, SHARES)[0]) for _ in range(arguments.scenes)]
    sketches = [make_sketch(rng, TRAINED) for _ in range(arguments.sketches)]
    images = [
        image_pool(scenes, rendered, arguments.seed, console),
        image_pool(sketches, sketch, arguments.seed, console),
    ]
    every = scenes + sketches
    return Lessons(every, torch.cat(images), torch.tensor([labels(scene) for scene in every]))


def batches(scenes: list[Scene], size: int, rng: Random) -> Iterator[tuple[list[int], list[str]]]:
    """Indices and captions for ever; no caption appears twice in a batch, so that no pair is a false negative."""
    order = list(range(len(scenes)))
    while True:
        rng.shuffle(order)
        chosen: dict[str, int] = {}
        for i in order:
            chosen.setdefault(scenes[i].caption(rng), i)
            if len(chosen) == size:
                yield list(chosen.values()), list(chosen)
                chosen = {}


def train(arguments: argparse.Namespace, console: Console) -> tuple[Any, float, int]:
    """Returns the trained model, the minutes that drawing and training took, and the steps taken.

    Fewer steps than asked for when `minutes` run out; the learning rate comes down in time for either.
    """
    import open_clip

    started = time.monotonic()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    rng = Random(arguments.seed)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{arguments.out}")
    lessons = make_lessons(arguments, rng, console)
    probe = Probe.make(arguments.seed, console)
    model = open_clip.create_model(f"local-dir:{arguments.start or arguments.out}", load_weights=bool(arguments.start))
    learner = Learner(model)
    if arguments.start:
        fit_heads(learner, normalise(lessons.images[::8]), lessons.attributes[::8])
    learner.train()
    image_tower, model.visual = model.visual, torch.compile(model.visual, disable=arguments.eager)
    steps = optimiser(learner, arguments.rate)
    source = batches(lessons.scenes, arguments.batch, rng)
    taken, begun = 0, time.monotonic()
    for step in range(arguments.steps):
        gone = max(step / arguments.steps, (time.monotonic() - begun) / (arguments.minutes * 60 - (begun - started)))
        if gone >= 1:
            console.print(f"stopped after {taken} of {arguments.steps} steps: {arguments.minutes} minutes are over")
            break
        for group in steps.param_groups:
            group["lr"] = arguments.rate * schedule(step, gone)
        contrastive, attribute = _losses(learner, lessons, *next(source), tokenizer, rng)
        steps.zero_grad()
        (contrastive + arguments.attribute_weight * attribute).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        steps.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        taken += 1
        if step % 50 == 49 or step == 0:
            found = probe.measure(model, image_tower, tokenizer)
            minutes = (time.monotonic() - started) / 60
            line = f"step {step + 1} contrastive {contrastive:.3f} attribute {attribute:.3f} {found}"
            console.print(f"{line} {minutes:.1f} min", highlight=False)
    model.visual = image_tower
    return model.eval(), (time.monotonic() - started) / 60, taken


def _losses(
    learner: Learner, lessons: Lessons, index: list[int], captions: list[str], tokenizer: Any, rng: Random
) -> tuple[Tensor, Tensor]:
    """Contrastive and attribute loss of one batch."""
    chosen = [lessons.scenes[i] for i in index]
    rows = [row for row, scene in enumerate(chosen) if scene.relation]
    losses: tuple[Tensor, Tensor] = learner(
        shift(normalise(lessons.images[index]), rng),
        tokenizer(captions),
        lessons.attributes[index],
        true_of(chosen, captions),
        tokenizer([chosen[row].nearly(rng).caption(rng) for row in rows]),
        torch.tensor(rows),
    )
    return losses


def schedule(step: int, gone: float, warm: int = 50) -> float:
    """Linear warm-up, then a cosine to nothing; `gone` is the share of the training that is over."""
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * gone))


@dataclass(frozen=True)
class Probe:
    """What training is watched by: unseen scenes, and drawings of another hand."""

    captions: list[str]
    images: Tensor
    drawn: list[tuple[list[str], Tensor]]

    @classmethod
    def make(cls, seed: int, console: Console) -> Probe:
        scenes = distinct_scenes("single", UNSEEN, seed + 7)
        drawn = [(captions, normalise(as_pixels(pictures))) for captions, pictures in map(probe_set, range(PROBES))]
        images = normalise(image_pool(scenes, rendered, 1, console))
        return cls([scene.canonical_caption() for scene in scenes], images, drawn)

    @torch.no_grad()
    def measure(self, model: Any, image_tower: nn.Module, tokenizer: Any) -> str:
        """Recall@1 of the scenes, and how many drawings of twelve their captions find."""

        def recall(captions: list[str], images: Tensor) -> float:
            texts = model.encode_text(tokenizer(captions), normalize=True)
            return recall_at_1(texts, functional.normalize(image_tower(images), dim=-1))

        told = [12 * recall(captions, images) for captions, images in self.drawn]
        return f"recall@1 {recall(self.captions, self.images):.3f} drawings {sum(told) / len(told):.2f}"


def save(model: Any, directory: Path) -> None:
    """float16 weights: half the size, and what is evaluated is what is committed."""
    from safetensors.torch import save_file

    state = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, directory / WEIGHTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ARCHIVE, help="where the checkpoint goes")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--minutes", type=float, default=30.0, help="stop after this long")
    parser.add_argument("--steps", type=int, default=1300, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=256, help="pairs in a step")
    parser.add_argument("--scenes", type=int, default=24_000, help="scenes rendered to learn from")
    parser.add_argument("--sketches", type=int, default=36_000, help="scenes sketched to learn from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eager", action="store_true", help="without compiling, for a few hundred steps")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--attribute-weight", type=float, default=1.0, help="weight of the attribute loss")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console()
    write_config(arguments.out)
    start = hashlib.sha256((arguments.start / WEIGHTS).read_bytes()).hexdigest() if arguments.start else None
    model, minutes, taken = train(arguments, console)
    save(model, arguments.out)
    report = {
        "command": "python -m scripts.demo.train",
        "arguments": {key: value for key, value in vars(arguments).items() if key not in ("out", "start")},
        "start": start,
        "minutes": round(minutes, 1),
        "steps": taken,
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "scenes_per_group": 200,
        "recalls": evaluate(arguments.out),
    }
    (arguments.out / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print_json(json.dumps(report))


if __name__ == "__main__":
    main()
