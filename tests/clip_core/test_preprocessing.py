"""Our half of the transform gives open_clip's pixels to the bit; drafts are used only where they pass their gate."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import functional

from clip_core.encode import canaries, draft_gate
from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadImage, BadModel
from clip_core.inputs.geometry import INTERPOLATIONS, MODES, Geometry
from clip_core.inputs.images import decode, decode_unguarded
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.inputs.request import Item, Part
from scripts.archive.canary_images import canary_images
from scripts.archive.input_check import check_pixels, reference_transform

SIZES = ((640, 480), (33, 31), (1, 60), (400, 20), (224, 224), (1000, 37))


def noise(width: int, height: int) -> Image.Image:
    rows = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(rows)


def photo(width: int, height: int, orientation: int = 1) -> bytes:
    """A smooth picture as a JPEG."""
    small = noise(9, 7).resize((width, height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92, exif=exif)
    return buffer.getvalue()


def both(config: PreprocessCfg) -> tuple[Any, Preprocessing]:
    """open_clip's transform, and ours."""
    return image_transform_v2(config, is_train=False), Preprocessing.parse(vars(config))


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
@pytest.mark.parametrize("size", [32, (32, 48), [48, 32]])
def test_pixels_equal_the_references_to_the_bit(mode: str, interpolation: str, size: Any) -> None:
    config = PreprocessCfg(size=size, resize_mode=mode, interpolation=interpolation, fill_color=77)
    reference, ours = both(config)
    for picture in map(noise, *zip(*SIZES, strict=True)):
        pixels = ours.uint8(picture)
        assert (pixels.dtype, pixels.is_contiguous()) == (torch.uint8, True)
        assert torch.equal(ours.float32(picture), reference(picture))
        assert torch.equal(pixels, functional.pil_to_tensor(ours.geometry(picture)))


sides = st.integers(1, 90)


@given(
    *(sides, sides, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    *(st.sampled_from(MODES), st.sampled_from(INTERPOLATIONS), st.integers(0, 255)),
)
def test_any_picture_and_any_target_equal_the_reference(
    width: int, height: int, size: tuple[int, int], mode: str, interpolation: str, fill: int
) -> None:
    reference, ours = both(PreprocessCfg(size, resize_mode=mode, interpolation=interpolation, fill_color=fill))
    picture = noise(width, height)
    try:
        expected = reference(picture)
    except ValueError:  # PIL's, of an edge that becomes nothing
        with pytest.raises(BadImage, match="too narrow"):
            ours.uint8(picture)
    else:
        assert torch.equal(ours.float32(picture), expected)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_thread_of_a_picture_is_refused_before_it_fills_the_memory(size: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match="too narrow"):
        Geometry((224, 224))(Image.new("RGB", size))


def test_a_batch_is_normalised_as_each_alone() -> None:
    _, ours = both(PreprocessCfg(size=32))
    pictures = [noise(40 + i, 50) for i in range(4)]
    together = ours.normalize(torch.stack([ours.uint8(picture) for picture in pictures]))
    assert torch.equal(together, torch.stack([ours.float32(picture) for picture in pictures]))


def test_mean_and_std_are_the_models() -> None:
    _, ours = both(PreprocessCfg(size=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)))
    assert np.allclose((*ours.mean, *ours.std), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))


@pytest.mark.parametrize("change", [{"antialias": False}, {"resize_mode": "tile"}, {"mode": "L"}, {"size": [1, 2, 3]}])
def test_a_config_that_is_not_known_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "open_clip_config.json"
    path.write_text(json.dumps({"preprocess_cfg": {**vars(PreprocessCfg()), **change}}))
    with pytest.raises(BadModel, match=r"open_clip_config.json"):
        Preprocessing.from_config(path)


def test_the_build_compares_pixels_with_open_clip(checkpoint: Path) -> None:
    model = open_clip.create_model(f"local-dir:{checkpoint}")
    check_pixels(Preprocessing.of_model(model), reference_transform(model))
    other = replace(Preprocessing.of_model(model), geometry=Geometry((32, 32), "squash"))
    with pytest.raises(BadModel, match="640×480"):
        check_pixels(other, reference_transform(model))


# Decoding on threads


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("max_batch", [2, 64])
def test_threads_change_nothing(model_dirs: dict[str, Path], checkpoint: Path, threads: int, max_batch: int) -> None:
    config = EndpointConfig(decode_threads=threads, max_batch=max_batch)
    encoders = Encoders.load(model_dirs["image"], config)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{checkpoint}")
    pictures = [photo(40 + 7 * i, 60, orientation=1 + i % 8) for i in range(9)]
    pictures[4] = b"broken"
    items = [Item((Part("image", data),)) for data in pictures]
    results = encoders.encode(items, cut_long_texts=[True] * len(items))
    assert [isinstance(result, Encoded) for result in results] == [i != 4 for i in range(9)]
    for data, result in zip(pictures, results, strict=True):
        if isinstance(result, Encoded):
            with torch.inference_mode():
                expected = model.eval().encode_image(transform(decode(data))[None], normalize=True)[0].numpy()
            assert np.abs(result.vector - expected).max() < 1e-5


# Drafts


def test_a_draft_is_never_smaller_than_asked() -> None:
    for orientation in (1, 6):
        data = photo(1600, 1000, orientation)
        whole, draft = decode(data), decode_unguarded(data, draft=(224, 224))
        assert min(draft.size) >= 224
        assert draft.width * 4 == whole.width


def test_a_small_jpeg_and_other_formats_are_decoded_whole() -> None:
    for data in (photo(300, 230), canary_images()[0][0]):
        assert decode_unguarded(data, draft=(224, 224)).tobytes() == decode(data).tobytes()


def test_drafts_are_measured_and_refused_below_their_floor(model_dirs: dict[str, Path]) -> None:
    pictures = [data for data, _ in canary_images()]
    config = EndpointConfig(jpeg_draft=True, jpeg_draft_floor=0.5)
    encoders = Encoders.load(model_dirs["image"], config)
    cosines = draft_gate.check(encoders, pictures)
    assert len(cosines) == 3
    assert 0.5 < min(cosines) < 1 - 1e-7, "drafts give other pixels"
    strict = Encoders.load(model_dirs["image"], replace(config, jpeg_draft_floor=min(cosines) + 1e-6))
    with pytest.raises(BadModel, match="jpeg_draft"):
        canaries.check(strict, model_dirs["image"])


def test_a_draft_with_a_margin_is_nearer_to_the_whole_picture(model_dirs: dict[str, Path]) -> None:
    pictures = [data for data, _ in canary_images()]
    config = EndpointConfig(jpeg_draft=True, jpeg_draft_floor=0.5)
    encoders = Encoders.load(model_dirs["image"], config)
    both = [
        Encoders(encoders.spec, None, None, encoders.image, replace(config, jpeg_draft_margin=margin))
        for margin in (1, 4)
    ]
    near, nearer = (min(draft_gate.check(each, pictures)) for each in both)
    assert near < nearer < 1 - 1e-7, "the pictures that it is measured on are large enough to be drafted"
    keys = {each.key(Part("image", pictures[0])) for each in both}
    assert len(keys) == 2, "vectors of other pixels are not taken from a shared cache"


def test_without_drafts_there_is_no_gate(model_dirs: dict[str, Path]) -> None:
    assert draft_gate.check(Encoders.load(model_dirs["image"], EndpointConfig()), [canary_images()[0][0]]) == []
