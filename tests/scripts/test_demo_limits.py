"""What recall among random scenes does not show: does the model tell a scene's caption from a nearly right one?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import open_clip
import pytest
import torch
from torch import Tensor

from scripts.demo.evaluate import ARCHIVE, SIZES, distinct_scenes
from scripts.demo.render import render
from scripts.demo.scenes import OPPOSITE, UNSEEN, Scene

Encode = Callable[[list[Scene]], Tensor]


def _relation_reversed(scene: Scene) -> Scene:
    assert scene.relation
    return replace(scene, relation=OPPOSITE[scene.relation])


def _objects_swapped(scene: Scene) -> Scene:
    return replace(scene, objects=scene.objects[::-1])


def _colors_swapped(scene: Scene) -> Scene:
    first, second = scene.objects
    return replace(scene, objects=(replace(first, color=second.color), replace(second, color=first.color)))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return distinct_scenes("relation", UNSEEN, 31, 500)


@pytest.fixture(scope="module")
def encoded(scenes: list[Scene]) -> tuple[Tensor, Encode]:
    """Image vectors of `scenes` (N, D), and what gives the vectors of canonical captions."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{ARCHIVE}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{ARCHIVE}")
    model.eval()

    @torch.inference_mode()
    def encode(given: list[Scene]) -> Tensor:
        vectors: Tensor = model.encode_text(tokenizer([s.canonical_caption() for s in given]), normalize=True)
        return vectors

    images = torch.stack([transform(render(s, *SIZES[i % len(SIZES)])) for i, s in enumerate(scenes)])
    with torch.inference_mode():
        return model.encode_image(images, normalize=True), encode


@pytest.mark.parametrize(
    ("nearly", "floor"), [(_relation_reversed, 0.97), (_objects_swapped, 0.97), (_colors_swapped, 0.97)]
)
def test_the_right_caption_beats_a_nearly_right_one(
    scenes: list[Scene], encoded: tuple[Tensor, Encode], nearly: Callable[[Scene], Scene], floor: float
) -> None:
    """Floors, chance is 0.5; archive/demo/README.md gives the figures."""
    images, encode = encoded
    wrong = encode([nearly(scene) for scene in scenes])
    share = float(((images * encode(scenes)).sum(1) > (images * wrong).sum(1)).float().mean())
    print(f"{nearly.__name__} {share:.3f}")
    assert share >= floor
