"""The families that differ most, compiled ahead of time: open_clip's vectors at any batch, with any neighbours.

The plain vision and causal text towers are compiled in tests/clip_core/test_compiling.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks.modules import image_module, text_module
from clip_core.networks.precision import apply
from clip_core.towers.compiling import Forward, load_package
from clip_core.towers.towers import compile_tower
from tests.families import difference, fresh, hugging_face_ids, pictures, texts, write_family

pytestmark = pytest.mark.full
GATE = 0.998  # a random tower 32 wide loses more than a real one, which is held to 0.999


def check(compiled: Forward, batch: Tensor, expected: Tensor, precision: str) -> None:
    """Alone, in batches of several sizes, and beside other items."""
    for start, end in ((0, 1), (0, 2), (3, 4), (1, len(batch)), (0, len(batch))):
        served, wanted = compiled(batch[start:end].contiguous()).float(), expected[start:end]
        if precision == "fp32":
            assert difference(served, wanted) < 1e-5
        else:
            assert float(functional.cosine_similarity(served.double(), wanted.double()).min()) > GATE


@torch.inference_mode()
@pytest.mark.parametrize(("family", "precision"), [("resnet", "fp32"), ("eva02", "fp32"), ("siglip", "int8")])
def test_pictures(family: str, precision: str, tmp_path: Path) -> None:
    directory = write_family(tmp_path, family)
    reference = fresh(directory)
    ours = Preprocessing.of_model(reference)
    pixels = torch.stack([ours.uint8(picture) for picture in pictures()])
    module = apply(image_module(fresh(directory), ours.mean, ours.std).eval(), precision)
    assert type(module).__name__ == "OpenClipImage"
    compile_tower(module, "image", 77, ours.size, tmp_path / "image.pt2")
    expected = reference.encode_image(ours.normalize(pixels))
    check(load_package(tmp_path / "image.pt2"), pixels, expected, precision)


@torch.inference_mode()
@pytest.mark.parametrize(("family", "precision"), [("coca", "fp32"), ("siglip", "int8"), ("hugging face", "bf16")])
def test_texts(family: str, precision: str, tmp_path: Path) -> None:
    directory = write_family(tmp_path, family)
    reference, ids = fresh(directory), ids_of(family, directory)
    module = apply(text_module(fresh(directory)).eval(), precision)
    assert type(module).__name__ == "OpenClipText"
    compile_tower(module, "text", ids.shape[1], (1, 1), tmp_path / "text.pt2")
    check(load_package(tmp_path / "text.pt2"), ids, reference.encode_text(ids), precision)


def ids_of(family: str, directory: Path) -> Tensor:
    """Texts of several lengths, the last of them too long."""
    if family == "hugging face":
        return hugging_face_ids()
    model: Any = fresh(directory)
    ids: Tensor = open_clip.get_tokenizer("ViT-B-32", context_length=model.context_length)(texts())
    return ids
