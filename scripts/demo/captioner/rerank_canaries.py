"""Draws the canaries of reranking: groups of four scenes that differ in one thing, and what only the first shows.

python -m scripts.demo.captioner.rerank_canaries      # writes gateway/reranking/quality/canaries.json
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from random import Random
from typing import Any

from gateway.reranking.quality.canaries import FILE
from scripts.demo.render import render
from scripts.demo.scenes import COLORS, OPPOSITE, SHAPES, TEXTURES, UNSEEN, Object, Scene, make_scene

GROUPS, SEED = 32, 4096
_SIDE, _QUALITY = 96, 85


def groups() -> list[list[Scene]]:
    """Half of them two objects in a relation, half one object; the first is true."""
    rng = Random(SEED)
    return [(_related if place % 2 else _single)(rng) for place in range(GROUPS)]


def _related(rng: Random) -> list[Scene]:
    scene = make_scene(rng, UNSEEN, "relation")
    first, second = scene.objects
    assert scene.relation is not None
    reversed_ = replace(scene, places=scene.places[::-1], relation=OPPOSITE[scene.relation])
    swapped = replace(scene, objects=(replace(first, color=second.color), replace(second, color=first.color)))
    return [scene, reversed_, swapped, replace(scene, objects=(first, _changed(second, "texture", rng)))]


def _single(rng: Random) -> list[Scene]:
    scene = make_scene(rng, UNSEEN, "single")
    (each,) = scene.objects
    return [scene, *(replace(scene, objects=(_changed(each, kind, rng),)) for kind in ("color", "texture", "shape"))]


def _changed(each: Object, kind: str, rng: Random) -> Object:
    words = {"color": tuple(COLORS), "texture": TEXTURES, "shape": SHAPES}[kind]
    return replace(each, **{kind: rng.choice([word for word in words if word != getattr(each, kind)])})


def canaries() -> list[dict[str, Any]]:
    return [
        {"text": scenes[0].canonical_caption(), "pictures": [_encoded(render(each, _SIDE, _SIDE)) for each in scenes]}
        for scenes in groups()
    ]


def _encoded(picture: Any) -> str:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    FILE.write_text(json.dumps(canaries(), indent=1) + "\n", encoding="utf-8")
