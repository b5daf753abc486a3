"""Each form of weights becomes archives whose vectors are open_clip's own, or transformers', within 1e-5."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file

from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadModel
from clip_core.inputs.request import Item, Part
from clip_core.wire import FloatArray
from scripts.archive.build import build
from scripts.archive.forms.read_path import read_path
from scripts.archive.input_check import reference_transform
from scripts.archive.mar_files import unpacked
from scripts.archive.model_source import load
from scripts.archive.resolver import resolve
from scripts.hub.provenance import Provenance
from tests.archives.forms import (
    TEXTS,
    fine_tuned,
    of_open_clip,
    of_transformers,
    write_architecture,
    write_clip,
    write_siglip,
)
from tests.checkpoints import VIT, write_checkpoint

ON_CPU: dict[str, Any] = {"precision": "fp32", "compile": False}
QUICK = {**VIT, "quick_gelu": True}


def pictures(size: int) -> list[Image.Image]:
    """Of the model's own size: no library resizes them, so that all prepare the same pixels."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(3)]


def served(mar: Path, size: int = 32) -> tuple[FloatArray, FloatArray]:
    """The vectors of TEXTS and of `pictures`, as a worker gives them."""
    with unpacked(mar) as directory:
        encoders = Encoders.load(directory, EndpointConfig(threads=2))
        items = [Item((Part("text", text),)) for text in TEXTS]
        items += [Item((Part("image", png(picture)),)) for picture in pictures(size)]
        found = encoders.encode(items, cut_long_texts=[True] * len(items))
    assert all(isinstance(each, Encoded) for each in found), found
    rows = np.stack([each.vector for each in found if isinstance(each, Encoded)])
    return rows[: len(TEXTS)], rows[len(TEXTS) :]


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def same(found: tuple[FloatArray, FloatArray], expected: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(np.abs(ours - theirs.numpy()).max() < 1e-5 for ours, theirs in zip(found, expected, strict=True))


def build_one(source: Path | str, store: Path, **given: Any) -> Path:
    return build(str(source), model_store=store, **ON_CPU, **given)[2]


def loaded(source: Path | str, **given: Any) -> tuple[FloatArray, FloatArray]:
    """The vectors of TEXTS and of `pictures` by what would be packed, without packing it."""
    found = load(resolve(str(source), **ON_CPU, **given).source)
    pixels = torch.stack([reference_transform(found.model)(each) for each in pictures(32)])
    text, image = of_open_clip(found.model, found.tokenizer, pixels)
    return text.numpy(), image.numpy()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    return fine_tuned(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def expected(trained: tuple[Any, dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    model, _ = trained
    transform = image_transform_v2(PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)), is_train=False)
    pixels = torch.stack([transform(each) for each in pictures(32)])
    return of_open_clip(model, open_clip.get_tokenizer("ViT-B-32"), pixels)


@pytest.mark.parametrize("form", ["epoch_1.pt", "weights.pt", "weights.bin", "weights.safetensors", "compiled.pt"])
def test_a_fine_tuned_file(
    form: str, trained: tuple[Any, dict[str, Any]], expected: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    model, epoch = trained
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    path = tmp_path / form
    if form.endswith("safetensors"):
        save_file(state, path)
    elif form == "compiled.pt":
        torch.save({"model": {"_orig_mod." + key: value.half() for key, value in state.items()}}, path)
    else:
        torch.save(epoch if form.startswith("epoch") else state, path)
    found = loaded(path, architecture=str(write_architecture(tmp_path / "tiny.json")))
    if form == "compiled.pt":  # half precision loses digits of its own
        assert all(np.abs(a - b.numpy()).max() < 1e-2 for a, b in zip(found, expected, strict=True))
    else:
        assert same(found, expected)


def test_a_fine_tuned_file_is_served(
    trained: tuple[Any, dict[str, Any]], expected: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(trained[1], tmp_path / "epoch_1.pt")
    architecture = str(write_architecture(tmp_path / "tiny.json"))
    mar = build_one(tmp_path / "epoch_1.pt", tmp_path / "store", architecture=architecture)
    assert same(served(mar), expected)
    with unpacked(mar) as directory:
        assert json.loads((directory / "model_spec.json").read_text())["name"] == "epoch_1"


def test_a_training_run_tells_its_own_architecture(trained: tuple[Any, dict[str, Any]], tmp_path: Path) -> None:
    run = tmp_path / "logs" / "run"
    (run / "checkpoints").mkdir(parents=True)
    path = run / "checkpoints" / "epoch_1.pt"
    torch.save(trained[1], path)
    architecture = write_architecture(tmp_path / "tiny.json")
    options = f"model: {architecture}\nforce_quick_gelu: True\nimage_mean: [0.5, 0.5, 0.5]\nimage_std: None\n"
    (run / "params.txt").write_text(options)
    assert read_path(path).notes == (f"architecture {architecture}, as {run / 'params.txt'} says",)
    config = load(resolve(str(path)).source).config
    assert config["model_cfg"]["quick_gelu"] is True
    assert config["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]


def test_a_folder_in_the_hubs_layout(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "hub", QUICK, mean=[0.1, 0.2, 0.3])
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    pixels = torch.stack([transform(each) for each in pictures(32)])
    expected = of_open_clip(model.eval(), open_clip.get_tokenizer(f"local-dir:{folder}"), pixels)
    assert same(loaded(folder), expected)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
def test_a_clip_of_transformers(tmp_path: Path, activation: str) -> None:
    from transformers import CLIPImageProcessor

    model = write_clip(tmp_path / "clip", activation)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "clip")
    pixels = processor(images=pictures(32), return_tensors="pt")["pixel_values"]
    expected = of_transformers(model, open_clip.get_tokenizer("ViT-B-32")(TEXTS), pixels)
    assert same(loaded(tmp_path / "clip"), expected)
    if activation == "gelu_pytorch_tanh":  # the least usual one, also as it is served
        assert same(served(build_one(tmp_path / "clip", tmp_path / "store")), expected)


@pytest.mark.parametrize("activation", ["gelu_pytorch_tanh", "gelu"])
def test_a_siglip_of_transformers(tmp_path: Path, activation: str) -> None:
    from transformers import AutoTokenizer, SiglipImageProcessor

    folder = tmp_path / "siglip"
    model = write_siglip(folder, activation)
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), SiglipImageProcessor.from_pretrained(folder)
    ids = tokenizer(TEXTS, padding="max_length", max_length=16, truncation=True, return_tensors="pt").input_ids
    expected = of_transformers(model, ids, processor(images=pictures(32), return_tensors="pt")["pixel_values"])
    assert same(loaded(folder), expected)
    if activation == "gelu_pytorch_tanh":
        assert same(served(build_one(folder, tmp_path / "store")), expected)


def test_siglips_own_class_of_tokenizer(tmp_path: Path) -> None:
    """It needs SentencePiece, and drops case and punctuation: open_clip's cleaning stands for that."""
    write_siglip(tmp_path / "siglip")
    path = tmp_path / "siglip" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "SiglipTokenizer"}))
    tokenizer = load(resolve(str(tmp_path / "siglip")).source).tokenizer
    plain, other = tokenizer(["a red circle", "A red, circle!"])
    assert plain.tolist() == other.tolist()
    assert plain.tolist()[:4] == [3, 10, 13, 1]
    (tmp_path / "siglip" / "tokenizer.json").rename(tmp_path / "siglip" / "spiece.model")
    with pytest.raises(BadModel, match=r"SentencePiece model: `pip install sentencepiece protobuf`"):
        load(resolve(str(tmp_path / "siglip")).source)


@pytest.mark.parametrize("write", [write_clip, write_siglip])
def test_a_file_of_transformers_goes_with_the_configuration_beside_it(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "model")
    whole, file = loaded(tmp_path / "model"), loaded(tmp_path / "model" / "model.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(whole, file, strict=True))
    alone = tmp_path / "alone.safetensors"
    (tmp_path / "model" / "model.safetensors").rename(alone)
    with pytest.raises(BadModel, match=r"has the names of transformers, and no config\.json is beside it"):
        read_path(alone, "ViT-B-32")


def test_a_clip_of_transformers_in_shards(tmp_path: Path) -> None:
    model = write_clip(tmp_path / "clip")
    model.save_pretrained(tmp_path / "shards", max_shard_size="2MB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    whole, parts = loaded(tmp_path / "clip"), loaded(tmp_path / "shards")
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_the_vocabulary_of_transformers_clip_is_known(tmp_path: Path) -> None:
    """Its words and merges are CLIP's: open_clip's own tokenizer stands for it, and workers need no transformers."""
    from transformers import CLIPTokenizer

    write_clip(tmp_path / "clip")
    reference = open_clip.get_tokenizer("ViT-B-32")
    marks = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    words = {marks.get(token, token): i for token, i in reference.encoder.items()}
    tokenizer = CLIPTokenizer(vocab=words, merges=list(reference.bpe_ranks))
    tokenizer.save_pretrained(tmp_path / "clip")
    plain = ["a photo of a dog", "It's 3 o'clock", "Größe 12"]
    ids = tokenizer(plain, padding="max_length", max_length=77).input_ids
    assert [row[: row.index(49407) + 1] for row in ids] == [
        row[: row.index(49407) + 1] for row in reference(plain).tolist()
    ]
    assert type(load(resolve(str(tmp_path / "clip")).source).tokenizer).__name__ == "SimpleTokenizer"


def test_openai_tags_have_their_activation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.archive.forms import pretrained_tag

    path = write_checkpoint(tmp_path / "hub", VIT) / "open_clip_model.safetensors"
    monkeypatch.setattr(pretrained_tag, "fetch_tag", lambda *_: (path, Provenance()))
    monkeypatch.setattr(pretrained_tag, "read_architecture", lambda _: ({**VIT}, {}))
    assert pretrained_tag.read_tag("ViT-B-32", "openai").model_cfg["quick_gelu"] is True
    assert "quick_gelu" not in pretrained_tag.read_tag("ViT-B-32", "laion2b_s34b_b79k").model_cfg
    with pytest.raises(BadModel, match=r"no weights 'nope'.*tags are openai, "):
        pretrained_tag.read_tag("ViT-B-32", "nope")


def test_an_end_of_text_of_ones_own(tmp_path: Path) -> None:
    """transformers pools at `eos_token_id`, and not at the largest id, where a configuration names one."""
    from transformers import CLIPTokenizer

    words = {"<s>": 0, "</s>": 1, "<u>": 2, "a</w>": 3, "red</w>": 4, "circle</w>": 5, "a": 6}
    folder = tmp_path / "clip"
    model = write_clip(folder, vocab_size=7, eos_token_id=1, max_position_embeddings=12)
    tokenizer = CLIPTokenizer(
        vocab=words, merges=[], bos_token="<s>", eos_token="</s>", unk_token="<u>", pad_token="<u>"
    )
    tokenizer.save_pretrained(folder)
    ids = tokenizer(TEXTS, padding="max_length", max_length=12, truncation=True, return_tensors="pt").input_ids
    expected = of_transformers(model, ids, torch.zeros(1, 3, 32, 32))
    found = loaded(folder)
    assert np.abs(found[0] - expected[0].numpy()).max() < 1e-5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("form", ["hub", "file", "transformers"])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, form: str, value: float) -> None:
    folder, given = tmp_path / "m", dict[str, Any]()
    if form == "transformers":
        write_clip(folder)
    else:
        write_checkpoint(folder, VIT)
    (path,) = folder.glob("*.safetensors")
    state = load_file(path)
    next(state[name] for name in sorted(state) if "ln_final" in name or "final_layer_norm" in name)[1] = value
    save_file(state, path, metadata={"format": "pt"})
    if form == "file":
        given = {"architecture": str(write_architecture(tmp_path / "vit.json"))}
    with pytest.raises(BadModel, match=r"the weights of \S+ are damaged: (text\.)?ln_final\.bias holds NaN") as caught:
        load(resolve(str(path if form == "file" else folder), **given).source)
    assert "\n" not in caught.value.message
