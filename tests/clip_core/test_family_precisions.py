"""Every family that runs open_clip's own module passes the gate in the precisions of a CPU too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clip_core.inputs.preprocessing import Preprocessing
from clip_core.networks import int8
from clip_core.networks.modules import image_module, text_module
from clip_core.networks.precision import apply
from tests.families import FAMILIES, THEIRS, fresh, hugging_face_ids, pictures, texts, write_family

PRECISIONS = ("bf16", "int8", "int8-static")
GATE = 0.998  # a random tower 32 wide loses more than a real one, which is held to 0.999


def _images(reference: Any) -> tuple[Callable[[Any], nn.Module], Tensor, Tensor]:
    """(model → module), its input, and open_clip's vectors."""
    ours = Preprocessing.of_model(reference)
    pixels = torch.stack([ours.uint8(picture) for picture in pictures()])
    return (
        lambda model: image_module(model, ours.mean, ours.std),
        pixels,
        reference.encode_image(ours.normalize(pixels)),
    )


def _texts(reference: Any, family: str) -> tuple[Callable[[Any], nn.Module], Tensor, Tensor]:
    tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=getattr(reference, "context_length", None))
    ids = hugging_face_ids() if family == "hugging face" else tokenizer(texts())
    return text_module, ids, reference.encode_text(ids)


@pytest.fixture(
    scope="module",
    params=[
        *(f"{name}/image" for name, (_, image, _) in FAMILIES.items() if image == THEIRS[0]),
        *(f"{name}/text" for name, (*_, text) in FAMILIES.items() if text == THEIRS[1]),
        "hugging face/text",
    ],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    family, part = request.param.split("/")
    return write_family(tmp_path_factory.mktemp("family"), family), family, part


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_family_passes_the_gate(case: tuple[Path, str, str], precision: str) -> None:
    directory, family, part = case
    reference = fresh(directory)
    make, batch, expected = _images(reference) if part == "image" else _texts(reference, family)
    module = make(fresh(directory)).eval()
    with int8.Calibration(module) as calibration:
        module(batch)
    served = apply(module, precision, calibration.scales)(batch).float()
    assert float(functional.cosine_similarity(served.double(), expected.double()).min()) > GATE


@torch.inference_mode()
def test_a_family_whose_layers_read_weights_themselves_is_quantized_whole(tmp_path: Path) -> None:
    module = image_module(fresh(write_family(tmp_path, "eva02")), (0.5,) * 3, (0.5,) * 3)
    wanted = {name for name, _ in int8.quantizable(module)}
    apply(module, "int8")
    assert any(name.endswith("attn.qkv") for name in wanted)
    assert wanted == {name for name, layer in module.named_modules() if isinstance(layer, int8.Int8Linear)}
