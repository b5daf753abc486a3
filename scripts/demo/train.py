"""Train the demo model: a tiny open_clip CLIP, from nothing, on rendered scenes. Seeded; two cores, under 30 minutes.

    python -m scripts.demo.train            # writes archive/demo and its evaluation.json

Two losses: CLIP's contrastive one on (image, caption) pairs, and cross-entropies of small linear heads that read the
scene's attributes off the image vector. The heads are thrown away; they make the image tower learn in minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo.claims import true_of
from scripts.demo.evaluate import ARCHIVE, distinct_scenes, evaluate, recall_at_1
from scripts.demo.render import render
from scripts.demo.scenes import BACKGROUNDS, COLORS, SHAPES, TEXTURES, TRAINED, UNSEEN, Scene, make_scene

MODEL: dict[str, Any] = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 48, "heads": 3, "layers": 4},
}
PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
KINDS, SHARES = ("single", "several", "relation"), (0.45, 0.2, 0.35)
LAYOUTS = ("one", "two", "three", "beside", "on top")
HEADS = {
    "shape": len(SHAPES),
    "color": len(COLORS),
    "texture": len(TEXTURES),
    "background": len(BACKGROUNDS),
    "size": 3,
    "layout": len(LAYOUTS),
    "shape2": len(SHAPES),
    "color2": len(COLORS),
    "texture2": len(TEXTURES),
}
RENDER_SIZES = ((96, 76), (76, 96), (110, 80), (84, 84))
IGNORE = -100


def write_config(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}, indent=2)
    (directory / "open_clip_config.json").write_text(text + "\n", encoding="utf-8")


def labels(scene: Scene) -> list[int]:
    """Attributes as class numbers, in the order of HEADS; of two objects the left or upper one is first."""
    first, *others = scene.objects
    if scene.relation in ("right of", "below"):
        first, others = others[0], [first]
    layout = {None: scene.count - 1, "left of": 3, "right of": 3, "above": 4, "below": 4}[scene.relation]
    size = ("small", "large", "medium").index(scene.size)
    row = [SHAPES.index(first.shape), list(COLORS).index(first.color), TEXTURES.index(first.texture)]
    row += [list(BACKGROUNDS).index(scene.background), size, layout]
    if not others:
        return row + [IGNORE] * 3
    other = others[0]
    return [*row, SHAPES.index(other.shape), list(COLORS).index(other.color), TEXTURES.index(other.texture)]


def _pixels(job: tuple[Scene, int, int]) -> np.ndarray:
    """A scene as preprocessing shows it to the model: rendered, resized, centre-cropped; (64, 64, 3) uint8."""
    from torchvision.transforms import functional as vision

    scene, width, height = job
    small = vision.resize(render(scene, width, height), 64, vision.InterpolationMode.BICUBIC)
    return np.asarray(vision.center_crop(small, [64, 64]))


def render_pool(scenes: list[Scene], seed: int, console: Console) -> Tensor:
    """→ (N, 3, 64, 64) uint8"""
    rng = Random(seed)
    jobs = [(scene, *rng.choice(RENDER_SIZES)) for scene in scenes]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        rows = list(track(pool.imap(_pixels, jobs, chunksize=256), "render", total=len(jobs), console=console))
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


def normalise(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - 0.5) / 0.5


def shift(images: Tensor, rng: Random) -> Tensor:
    """The whole batch moved by up to 3 pixels: cheap augmentation that keeps every relation true."""
    dx, dy = rng.randint(-3, 3), rng.randint(-3, 3)
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    return padded[:, :, 3 + dy : 67 + dy, 3 + dx : 67 + dx]


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


class Learner(nn.Module):
    """The CLIP model with its attribute heads."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.heads = nn.ModuleDict({name: nn.Linear(MODEL["embed_dim"], size) for name, size in HEADS.items()})

    def forward(
        self, images: Tensor, ids: Tensor, attributes: Tensor, true: Tensor, wrong: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Contrastive and attribute loss.

        `true` (B, B) bool: captions that hold for an image, its own among them; the others of these are no negatives.
        `wrong` (R, L): ids of captions that nearly hold for the images `rows` (R,), told apart by a loss of their own.
        """
        features = self.model.encode_image(images)
        texts, nearly = self.model.encode_text(torch.cat([ids, wrong]), normalize=True).split([len(ids), len(wrong)])
        units, scale = functional.normalize(features, dim=-1), self.model.logit_scale.exp()
        target = torch.arange(len(images))
        others = true & ~torch.eye(len(images), dtype=torch.bool)
        logits = (scale * units @ texts.T).masked_fill(others, float("-inf"))
        contrastive = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
        margins = scale * (units[rows] * (texts[rows] - nearly)).sum(dim=1)
        contrastive = contrastive + 0.3 * functional.softplus(-margins).mean()
        losses = [
            functional.cross_entropy(head(features), attributes[:, i], ignore_index=IGNORE)
            for i, head in enumerate(self.heads.values())
        ]
        return contrastive, torch.stack(losses).mean()


def optimiser(learner: Learner, rate: float) -> torch.optim.AdamW:
    """Weight decay on matrices only; never on the embedding, whose unused rows it would shrink."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in learner.named_parameters():
        (decay if parameter.ndim >= 2 and "embedding" not in name else plain).append(parameter)
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


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
