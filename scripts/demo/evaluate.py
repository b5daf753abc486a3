"""How well the committed demo model finds scenes of combinations that it never saw: loaded and fed as any user would.

python -m scripts.demo.evaluate
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from scripts.demo.render import render
from scripts.demo.render_gallery import as_jpeg, gallery_scenes
from scripts.demo.scenes import COLORS, SHAPES, TRAINED, UNSEEN, Combination, Scene, make_scene
from scripts.demo.shown_searches import pages, shown_searches

ARCHIVE = Path(__file__).resolve().parents[2] / "archive" / "demo"
SCENES = 200
DRAWS = range(201, 211)
SIZES = ((320, 240), (240, 320), (400, 240))


def distinct_scenes(kind: str, combinations: tuple[Combination, ...], seed: int, count: int = SCENES) -> list[Scene]:
    """`count` scenes whose canonical captions all differ."""
    rng = Random(seed)
    scenes: dict[str, Scene] = {}
    while len(scenes) < count:
        scene = make_scene(rng, combinations, kind)
        scenes.setdefault(scene.canonical_caption(), scene)
    return list(scenes.values())


def recall_at_1(queries: Tensor, gallery: Tensor) -> float:
    """Share of rows of `queries` (N, D) whose best match in `gallery` (N, D) is the row of the same number."""
    best = (queries @ gallery.T).argmax(dim=1)
    return float((best == torch.arange(len(queries))).float().mean())


@torch.inference_mode()
def recalls(model: Any, transform: Any, tokenizer: Any, scenes: list[Scene]) -> dict[str, float]:
    """text→image and image→text recall@1 among `scenes`, by canonical captions."""
    images = torch.stack([transform(render(s, *SIZES[i % len(SIZES)])) for i, s in enumerate(scenes)])
    image_vectors = model.encode_image(images, normalize=True)
    text_vectors = model.encode_text(tokenizer([s.canonical_caption() for s in scenes]), normalize=True)
    return {
        "text_to_image_recall_at_1": round(recall_at_1(text_vectors, image_vectors), 4),
        "image_to_text_recall_at_1": round(recall_at_1(image_vectors, text_vectors), 4),
    }


@torch.inference_mode()
def gallery_vectors(model: Any, transform: Any) -> Tensor:
    """(N, D), of the gallery's JPEGs."""
    pictures = (as_jpeg(render(scene, *SIZES[i % len(SIZES)])) for i, scene in enumerate(gallery_scenes()))
    images = torch.stack([transform(Image.open(io.BytesIO(picture))) for picture in pictures])
    vectors: Tensor = model.encode_image(images, normalize=True)
    return vectors


@torch.inference_mode()
def short_queries(model: Any, tokenizer: Any, vectors: Tensor) -> dict[str, float]:
    """ "red circle" and the like on the gallery: the share of the first hits, and of the first five, that show one."""
    scenes = gallery_scenes()
    pairs = [(color, shape) for color in COLORS for shape in SHAPES]
    texts = model.encode_text(tokenizer([f"{color} {shape}" for color, shape in pairs]), normalize=True)
    shows = torch.tensor([[any(e.color == c and e.shape == s for e in x.objects) for x in scenes] for c, s in pairs])
    hits = torch.gather(shows, 1, (texts @ vectors.T).topk(5, dim=1).indices).float()
    return {"precision_at_1": round(float(hits[:, 0].mean()), 4), "precision_at_5": round(float(hits.mean()), 4)}


@torch.inference_mode()
def documented(model: Any, tokenizer: Any, vectors: Tensor) -> dict[str, float]:
    """The searches that README and docs show, on the gallery: the share whose first hit is what they say."""
    scenes, searches = gallery_scenes(), shown_searches(pages())
    texts = model.encode_text(tokenizer([search.text for search in searches]), normalize=True)
    allowed = torch.tensor([[search.allows(scene) for scene in scenes] for search in searches])
    first = (texts @ vectors.T).masked_fill(~allowed, -2).argmax(dim=1).tolist()
    right = [search.answered_by(scenes[found]) for search, found in zip(searches, first, strict=True)]
    return {"right_at_1": round(sum(right) / len(right), 4), "searches": len(right)}


def evaluate(directory: Path = ARCHIVE) -> dict[str, dict[str, float]]:
    """Every recall of the model in `directory`, loaded by open_clip, images through open_clip's own transform."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{directory}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}")
    model.eval()
    groups = {
        "one object, unseen combinations": ("single", UNSEEN, 101),
        "one object, seen combinations": ("single", TRAINED, 102),
        "two or three alike, unseen combinations": ("several", UNSEEN, 103),
        "two objects in a relation, unseen combinations": ("relation", UNSEEN, 104),
        "two objects in a relation, seen combinations": ("relation", TRAINED, 105),
    }
    results = {
        name: recalls(model, transform, tokenizer, distinct_scenes(kind, combinations, seed))
        for name, (kind, combinations, seed) in groups.items()
    }
    draws = [
        recalls(model, transform, tokenizer, distinct_scenes("single", UNSEEN, seed))["text_to_image_recall_at_1"]
        for seed in DRAWS
    ]
    results["one object, unseen combinations, ten other draws"] = {
        "mean": round(sum(draws) / len(draws), 4),
        "least": min(draws),
    }
    vectors = gallery_vectors(model, transform)
    results["short queries (colour and shape) on the gallery"] = short_queries(model, tokenizer, vectors)
    results["searches that README and docs show, on the gallery"] = documented(model, tokenizer, vectors)
    return results


def save(directory: Path = ARCHIVE) -> dict[str, dict[str, float]]:
    """Evaluate, and write what came out into the directory's evaluation.json."""
    path = directory / "evaluation.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    report["recalls"] = evaluate(directory)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return dict(report["recalls"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Evaluate the demo model.")
    parser.add_argument("--directory", type=Path, default=ARCHIVE)
    parser.add_argument("--save", action="store_true", help="write the figures into evaluation.json")
    arguments = parser.parse_args()
    print(json.dumps((save if arguments.save else evaluate)(arguments.directory), indent=2))
