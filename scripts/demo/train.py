"""Train the demo model: a tiny open_clip CLIP, from nothing, on rendered scenes. Seeded; two cores, under 30 minutes.

    python -m scripts.demo.train            # writes archive/demo and its evaluation.json

Two losses: CLIP's contrastive one on (image, caption) pairs, and cross-entropies of small linear heads that read the
scene's attributes off the image vector. The heads are thrown away; they make the image tower learn in minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
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
from scripts.demo.learner import Learner, optimiser, write_config
from scripts.demo.scenes import TRAINED, UNSEEN, Scene, make_scene
from scripts.demo.training_images import normalise, render_pool, shift

KINDS, SHARES = ("single", "several", "relation"), (0.45, 0.2, 0.35)


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
    """Returns the trained model, the minutes that rendering and training took, and the steps taken.

    Fewer steps than asked for when `minutes` run out; the learning rate has then not come down to nothing.
    """
    import open_clip

    started = time.monotonic()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(2)
    rng = Random(arguments.seed)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{arguments.out}")
    scenes = [make_scene(rng, TRAINED, rng.choices(KINDS, SHARES)[0]) for _ in range(arguments.scenes)]
    images = render_pool(scenes, arguments.seed, console)
    attributes = torch.tensor([labels(scene) for scene in scenes])
    probe = distinct_scenes("single", UNSEEN, arguments.seed + 7)
    probe_images = normalise(render_pool(probe, 1, console))
    model = open_clip.create_model(f"local-dir:{arguments.out}", load_weights=False)
    learner = Learner(model)
    learner.train()
    image_tower, model.visual = model.visual, torch.compile(model.visual)
    steps = optimiser(learner, arguments.rate)
    source = batches(scenes, arguments.batch, rng)
    taken = 0
    for step in range(arguments.steps):
        if time.monotonic() - started > arguments.minutes * 60:
            console.print(f"stopped after {taken} of {arguments.steps} steps: {arguments.minutes} minutes are over")
            break
        for group in steps.param_groups:
            group["lr"] = arguments.rate * schedule(step, arguments.steps)
        index, captions = next(source)
        chosen = [scenes[i] for i in index]
        rows = [row for row, scene in enumerate(chosen) if scene.relation]
        contrastive, attribute = learner(
            shift(normalise(images[index]), rng),
            tokenizer(captions),
            attributes[index],
            true_of(chosen, captions),
            tokenizer([chosen[row].nearly(rng).caption(rng) for row in rows]),
            torch.tensor(rows),
        )
        steps.zero_grad()
        (contrastive + arguments.attribute_weight * attribute).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        steps.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        taken += 1
        if step % 100 == 99 or step == 0:
            recall = _probe(model, image_tower, tokenizer, probe, probe_images)
            minutes = (time.monotonic() - started) / 60
            line = f"step {step + 1} contrastive {contrastive:.3f} attribute {attribute:.3f} recall@1 {recall:.3f}"
            console.print(f"{line} {minutes:.1f} min", highlight=False)
    model.visual = image_tower
    return model.eval(), (time.monotonic() - started) / 60, taken


def schedule(step: int, total: int, warm: int = 100) -> float:
    """Linear warm-up, then a cosine to nothing."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


@torch.no_grad()
def _probe(model: Any, image_tower: nn.Module, tokenizer: Any, scenes: list[Scene], images: Tensor) -> float:
    vectors = functional.normalize(image_tower(images), dim=-1)
    texts = model.encode_text(tokenizer([scene.canonical_caption() for scene in scenes]), normalize=True)
    return recall_at_1(texts, vectors)


def save(model: Any, directory: Path) -> None:
    """float16 weights: half the size, and what is evaluated is what is committed."""
    from safetensors.torch import save_file

    state = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, directory / "open_clip_model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ARCHIVE, help="where the checkpoint goes")
    parser.add_argument("--minutes", type=float, default=30.0, help="stop after this long")
    parser.add_argument("--steps", type=int, default=1300, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=256, help="pairs in a step")
    parser.add_argument("--scenes", type=int, default=48_000, help="scenes rendered to learn from")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--attribute-weight", type=float, default=1.0, help="weight of the attribute loss")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console()
    write_config(arguments.out)
    model, minutes, taken = train(arguments, console)
    save(model, arguments.out)
    report = {
        "command": "python -m scripts.demo.train",
        "arguments": {key: value for key, value in vars(arguments).items() if key != "out"},
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
