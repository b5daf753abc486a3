"""The figures of the demo model: drawings told apart, documents' searches answered, and where scores lie."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.drawings.demo_model import DemoModel
from benchmarks.drawings.kinds import kinds, seeds
from benchmarks.drawings.nonsense import nonsense
from scripts.demo.evaluate import documented, gallery_vectors
from scripts.demo.render_gallery import gallery_scenes
from scripts.demo.scenes import COLORS, SHAPES

QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99, 1.0)


def told_apart(model: DemoModel, console: Console) -> dict[str, list[int]]:
    """By kind: how many of twelve were right in each of its sets. Raises NoBrowser."""
    with kinds() as every:
        work = [(kind, seed) for place, kind in enumerate(every) for seed in seeds(place)]
        right: dict[str, list[int]] = {kind.name: [] for kind in every}
        for kind, seed in track(work, "draw", console=console):
            right[kind.name].append(model.right(*kind.draw(seed)))
    return right


def plain(right: dict[str, list[int]]) -> list[int]:
    """Of all sets without words for sizes and textures."""
    return [count for name, counts in right.items() if "textures" not in name for count in counts]


def best_scores(model: DemoModel, gallery: Tensor) -> dict[str, dict[str, float]]:
    """By kind of text: quantiles of the best score that each has in the demo collection (N, D)."""
    asked = {
        "nonsense": nonsense(),
        "colour and shape": [f"a {color} {shape}" for color in COLORS for shape in SHAPES],
        "captions": [scene.canonical_caption() for scene in gallery_scenes()],
    }
    return {name: _quantiles((model.texts(texts) @ gallery.T).amax(dim=1)) for name, texts in asked.items()}


def _quantiles(scores: Tensor) -> dict[str, float]:
    return {f"p{round(100 * part)}": round(float(scores.quantile(part)), 3) for part in QUANTILES}


def measure(directory: Path, console: Console) -> dict[str, Any]:
    """What the report says beside its head."""
    model = DemoModel.load(directory)
    gallery = gallery_vectors(model.model, model.transform)
    right = told_apart(model, console)
    counts = plain(right)
    figures = {
        "plain_drawings_right_of_12": statistics.mean(counts),
        "plain_drawings_right_of_12_worst_set": float(min(counts)),
        "readme_searches_right": documented(model.model, model.tokenizer, gallery)["right_at_1"],
    }
    return {"figures": figures, "sets": right, "best_scores": best_scores(model, gallery)}
