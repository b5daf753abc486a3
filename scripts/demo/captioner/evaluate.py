"""How often the committed captioner is right about scenes of combinations that it never saw.

    python -m scripts.demo.captioner.evaluate          # prints the figures
    python -m scripts.demo.captioner.evaluate --save   # writes them into the captioner's evaluation.json, too

Pictures go through open_clip's own transform, captions come out of its own forward pass, greedily.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random
from typing import Any

import torch

from scripts.demo.captioner.greedy import greedy_captions
from scripts.demo.captioner.told import one_kind, told, two_kinds
from scripts.demo.captioner.vocabulary import tokenizer_of
from scripts.demo.evaluate import ARCHIVE as DEMO
from scripts.demo.evaluate import SIZES
from scripts.demo.render import render
from scripts.demo.scenes import TRAINED, UNSEEN, Combination, Scene, make_scene

ARCHIVE = DEMO / "captioner"
SCENES = 500
GROUPS: dict[str, tuple[str, tuple[Combination, ...], int]] = {
    "one object, unseen combinations": ("single", UNSEEN, 301),
    "one object, seen combinations": ("single", TRAINED, 302),
    "two or three alike, unseen combinations": ("several", UNSEEN, 303),
    "two objects in a relation, unseen combinations": ("relation", UNSEEN, 304),
    "two objects in a relation, seen combinations": ("relation", TRAINED, 305),
}


def drawn(kind: str, combinations: tuple[Combination, ...], seed: int, count: int) -> list[Scene]:
    rng = Random(seed)
    return [make_scene(rng, combinations, kind) for _ in range(count)]


def captions_of(model: Any, transform: Any, tokenizer: Any, scenes: list[Scene]) -> list[str]:
    """Of the scenes as the gallery's sizes show them."""
    images = torch.stack([transform(render(s, *SIZES[i % len(SIZES)])) for i, s in enumerate(scenes)])
    return [text for part in torch.split(images, 100) for text in greedy_captions(model, tokenizer, part)]


def shares(scenes: list[Scene], captions: list[str]) -> dict[str, float]:
    """Of each attribute, and of all together: in which share of the scenes the caption has it right."""
    right = [
        (two_kinds if scene.relation else one_kind)(told(caption), scene)
        for scene, caption in zip(scenes, captions, strict=True)
    ]
    return {name: round(sum(row[name] for row in right) / len(right), 4) for name in right[0]}


def evaluate(directory: Path = ARCHIVE, count: int = SCENES) -> dict[str, dict[str, float]]:
    """Every group's shares, by the captioner in `directory` as open_clip loads it."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{directory}")
    model.eval()
    tokenizer = tokenizer_of(directory)
    found = {}
    for name, (kind, combinations, seed) in GROUPS.items():
        scenes = drawn(kind, combinations, seed, count)
        found[name] = shares(scenes, captions_of(model, transform, tokenizer, scenes))
    return found


def earlier_runs(directory: Path) -> list[dict[str, Any]]:
    """The runs of training that made the captioner in `directory`."""
    runs: list[dict[str, Any]] = json.loads((directory / "evaluation.json").read_text(encoding="utf-8"))["runs"]
    return runs


def save(directory: Path, report: dict[str, Any]) -> None:
    """Into evaluation.json; what the file says beside it stays."""
    path = directory / "evaluation.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(old | report, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=ARCHIVE)
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes in a group")
    parser.add_argument("--save", action="store_true", help="write the figures into evaluation.json")
    arguments = parser.parse_args()
    report = {"scenes_per_group": arguments.scenes, "shares": evaluate(arguments.directory, arguments.scenes)}
    if arguments.save:
        save(arguments.directory, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
