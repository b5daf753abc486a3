"""Served vectors equal open_clip's own pipeline, one bad item never spoils its batch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from clip_core.encode.canaries import check
from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadImage, BadInput, BadModel, BadText, BadVector, ClipServeError, InferenceFailed
from clip_core.inputs.request import Item, Part
from clip_core.model_spec import ModelSpec
from clip_core.wire import FloatArray
from scripts.archive.canary_images import canary_images
from tests.clip_core.test_cached_encoders import image, text

TEXTS = ["a red circle", "two blue stars on a black background", "x" * 500, "东京 🦀 naïve"]


@pytest.fixture(scope="module")
def encoders(model_dirs: dict[str, Path]) -> Encoders:
    return Encoders.load(model_dirs["multimodal"], EndpointConfig(threads=2, max_batch=3))


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> tuple[FloatArray, FloatArray]:
    """open_clip's own vectors of TEXTS and of the canary images."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{checkpoint}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{checkpoint}")
    model.eval()
    with torch.inference_mode():
        texts = model.encode_text(tokenizer(TEXTS), normalize=True)
        images = model.encode_image(torch.stack([transform(image) for _, image in canary_images()]), normalize=True)
    return texts.numpy(), images.numpy()


def encode(encoders: Encoders, *items: Item | ClipServeError) -> list[Encoded | ClipServeError]:
    return encoders.encode(items, cut_long_texts=[True] * len(items))


def vectors(results: list[Encoded | ClipServeError]) -> FloatArray:
    assert all(isinstance(result, Encoded) for result in results), results
    return np.stack([result.vector for result in results if isinstance(result, Encoded)])


def test_texts_equal_open_clip(encoders: Encoders, reference: tuple[FloatArray, FloatArray]) -> None:
    assert np.abs(vectors(encode(encoders, *map(text, TEXTS))) - reference[0]).max() < 1e-5


def test_images_equal_open_clip(encoders: Encoders, reference: tuple[FloatArray, FloatArray]) -> None:
    items = [image(data) for data, _ in canary_images()]
    assert np.abs(vectors(encode(encoders, *items)) - reference[1]).max() < 1e-5


def test_bad_items_get_their_own_errors_and_spoil_nothing(encoders: Encoders) -> None:
    good_text, good_image = text("a dog"), image(canary_images()[0][0])
    bad_vector = Item((Part("vector", np.ones(3, np.float32)),))
    mixed = encode(encoders, text(" "), good_text, image(b"x"), BadInput("no"), good_image, bad_vector)
    kinds = [type(result) for result in mixed]
    assert kinds == [BadText, Encoded, BadImage, BadInput, Encoded, BadVector]
    alone = encode(encoders, good_text, good_image)
    assert np.allclose(vectors([mixed[1], mixed[4]]), vectors(alone), atol=1e-6)


def test_weights_pull_and_push(encoders: Encoders) -> None:
    parts = (Part("text", "a dog", 2.0), Part("text", "a cat", -1.0))
    dog, cat, both = vectors(encode(encoders, text("a dog"), text("a cat"), Item(parts)))
    expected = 2 * dog - cat
    assert np.allclose(both, expected / np.linalg.norm(expected), atol=1e-6)


def test_one_negative_part_points_the_other_way(encoders: Encoders) -> None:
    one, other = vectors(encode(encoders, text("a dog"), text("a dog", -1.0)))
    assert np.allclose(one, -other, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_vector_without_direction_is_an_error_never_an_answer(encoders: Encoders, bad: float) -> None:
    class Broken:
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            rows = torch.full((len(ids), encoders.spec.dim), bad)
            rows[0] = 1.0
            return rows

    broken = Encoders(encoders.spec, encoders.tokenizer, Broken(), None, EndpointConfig())
    good, failed = encode(broken, text("a"), text("b"))
    assert isinstance(good, Encoded)
    assert isinstance(failed, InferenceFailed)


def test_an_archive_holds_only_the_tower_of_its_kind(model_dirs: dict[str, Path]) -> None:
    encoders = Encoders.load(model_dirs["text"], EndpointConfig())
    (result,) = encode(encoders, image(canary_images()[0][0]))
    assert isinstance(result, BadInput)
    images_only = Encoders.load(model_dirs["image"], EndpointConfig())
    (result,) = encode(images_only, text("a dog"))
    assert isinstance(result, BadInput)


@pytest.mark.parametrize("kind", ["text", "image", "multimodal"])
def test_canaries_pass(model_dirs: dict[str, Path], kind: str) -> None:
    cosines = check(Encoders.load(model_dirs[kind], EndpointConfig()), model_dirs[kind])
    assert len(cosines) == {"text": 3, "image": 3, "multimodal": 6}[kind]
    assert min(cosines) > 0.99999


def test_a_changed_tower_fails_its_canaries(model_dirs: dict[str, Path]) -> None:
    encoders = Encoders.load(model_dirs["text"], EndpointConfig())
    assert encoders.text is not None
    module = encoders.text.run
    assert isinstance(module, torch.nn.Module)
    module.ln_final.weight.data[:16] *= -1
    with pytest.raises(BadModel, match="cosine"):
        check(encoders, model_dirs["text"])


def test_the_three_archives_share_a_fingerprint(model_dirs: dict[str, Path]) -> None:
    specs = [ModelSpec.read(directory) for directory in model_dirs.values()]
    assert len({spec.fingerprint for spec in specs}) == 1
    assert {spec.kind for spec in specs} == {"text", "image", "multimodal"}


def test_odd_sizes(encoders: Encoders) -> None:
    for size in ((1, 200), (400, 3), (1, 1)):
        buffer = io.BytesIO()
        Image.new("RGB", size, (10, 200, 30)).save(buffer, "PNG")
        (result,) = encode(encoders, image(buffer.getvalue()))
        assert isinstance(result, Encoded), size
