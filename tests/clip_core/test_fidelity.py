"""Our forward passes give open_clip's vectors: every family, every text length, odd pictures, any neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image

from clip_core.causal_text import BUCKETS, bucket
from clip_core.modules import image_module, text_module
from clip_core.preprocessing import Preprocessing
from clip_core.towers import TextTower, facts
from tests.checkpoints import VIT, write_checkpoint

VISION, TEXT = VIT["vision_cfg"], VIT["text_cfg"]
OURS = ("VisionTower", "CausalTextTower")
THEIRS = ("OpenClipImage", "OpenClipText")


def family(vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {**VIT, "vision_cfg": {**VISION, **(vision or {})}, "text_cfg": {**TEXT, **(text or {})}, **rest}


def timm(name: str, size: int = 64, **text: Any) -> dict[str, Any]:
    vision = {
        "image_size": size,
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
    }
    return {**VIT, "vision_cfg": vision, "text_cfg": {**TEXT, **text}}


COCA = family(
    {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    {"context_length": 76, "embed_cls": True, "output_tokens": True},
    custom_text=True,
    multimodal_cfg={"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
)
FAMILIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "vit": (VIT, OURS[0], OURS[1]),
    "quickgelu": (family(quick_gelu=True), OURS[0], OURS[1]),
    "average pooling": (family({"pool_type": "avg"}), OURS[0], OURS[1]),
    "final norm after pooling": (family({"pool_type": "avg", "final_ln_after_pool": True}), OURS[0], OURS[1]),
    "no pre-norm, layer scale": (
        family({"no_ln_pre": True, "ls_init_value": 0.3}, {"ls_init_value": 0.2}),
        OURS[0],
        OURS[1],
    ),
    "attention pooling": (family({"attentional_pool": True, "attn_pooler_heads": 2}), OURS[0], OURS[1]),
    "oblong pictures": (family({"image_size": [32, 48], "patch_size": [8, 16]}), OURS[0], OURS[1]),
    "custom text": (family(custom_text=True), OURS[0], OURS[1]),
    "biased projection": (family(text={"proj_bias": True}, custom_text=True), OURS[0], OURS[1]),
    "end of text by id": (family(text={"pool_type": "eos", "eos_id": 49407}, custom_text=True), OURS[0], OURS[1]),
    "no causal mask": (
        family(text={"no_causal_mask": True, "pool_type": "last"}, custom_text=True),
        OURS[0],
        THEIRS[1],
    ),
    "norms in the attention": (family({"qk_norm": True, "block_type": "custom"}), THEIRS[0], OURS[1]),
    "coca": (COCA, OURS[0], THEIRS[1]),
    "resnet": (family({"layers": [1, 1, 1, 1], "width": 8, "head_width": 16}), THEIRS[0], OURS[1]),
    "siglip": (timm("test_vit", no_causal_mask=True, pool_type="last"), THEIRS[0], THEIRS[1]),
    "convnext": (timm("test_convnext"), THEIRS[0], OURS[1]),
    "eva02": (timm("eva02_tiny_patch14_224", 224), THEIRS[0], OURS[1]),
    "mobileclip": (timm("fastvit_t8"), THEIRS[0], OURS[1]),
}
FAMILIES["siglip"][0]["custom_text"] = True


@pytest.fixture(scope="module", params=FAMILIES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    directory = write_checkpoint(tmp_path_factory.mktemp("family"), FAMILIES[request.param][0])
    return request.param, open_clip.create_model(f"local-dir:{directory}").eval(), directory


def fresh(directory: Path) -> Any:
    return open_clip.create_model(f"local-dir:{directory}").eval()


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference between unit vectors."""
    return float(
        (torch.nn.functional.normalize(one, dim=-1) - torch.nn.functional.normalize(other, dim=-1)).abs().max()
    )


def pictures() -> list[Image.Image]:
    noise = torch.randint(0, 255, (90, 160, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    photo = Image.fromarray(noise.numpy())
    return [photo, photo.resize((1, 60)), photo.resize((400, 20)), photo.convert("L"), photo.resize((33, 31))]


def texts() -> list[str]:
    return ["circle", "a red circle", "two blue stars 東京 🦀", "word " * 30, "word " * 300]


@torch.inference_mode()
def test_pictures(built: tuple[str, Any, Path]) -> None:
    name, reference, directory = built
    ours = Preprocessing.of_model(reference)
    pixels = torch.stack([ours.uint8(picture) for picture in pictures()])
    module = image_module(fresh(directory), ours.mean, ours.std).eval()
    assert type(module).__name__ == FAMILIES[name][1]
    assert difference(module(pixels), reference.encode_image(ours.normalize(pixels))) < 1e-5


@torch.inference_mode()
def test_texts(built: tuple[str, Any, Path]) -> None:
    name, reference, directory = built
    ids = open_clip.get_tokenizer("ViT-B-32", context_length=reference.context_length)(texts())
    module = text_module(fresh(directory)).eval()
    assert type(module).__name__ == FAMILIES[name][2]
    for rows in (ids, ids[:1], ids[:3]):
        assert difference(module(rows), reference.encode_text(rows)) < 1e-5


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    directory = write_checkpoint(tmp_path_factory.mktemp("plain"))
    return fresh(directory), text_module(fresh(directory)).eval()


@torch.inference_mode()
def test_every_length_from_1_to_77(plain: tuple[Any, Any]) -> None:
    reference, ours = plain
    generator = torch.Generator().manual_seed(0)
    for length in range(1, 78):
        ids = torch.zeros(2, 77, dtype=torch.long)
        ids[:, :length] = torch.randint(1, 49405, (2, length), generator=generator)
        ids[:, length - 1] = 49407
        assert difference(ours(ids), reference.encode_text(ids)) < 1e-5, length


@torch.inference_mode()
def test_a_text_does_not_depend_on_its_neighbours(plain: tuple[Any, Any]) -> None:
    ours = plain[1]
    ids = open_clip.get_tokenizer("ViT-B-32")(texts())
    together = ours(ids)
    for i in range(len(ids)):
        assert difference(ours(ids[i : i + 1]), together[i : i + 1]) < 1e-6


@torch.inference_mode()
def test_only_the_batchs_longest_text_is_paid_for(plain: tuple[Any, Any]) -> None:
    seen: list[int] = []
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    tower = TextTower(lambda ids: (seen.append(ids.shape[1]), plain[1](ids))[1], facts(plain[1]), compiled=False)
    for text in ("a dog", "word " * 20, "word " * 300):
        tower.forward(tokenizer([text, "a"]))
    assert seen == [8, 24, 77]


def test_buckets_hold_what_they_must() -> None:
    for longest in (32, 64, 77):
        for length in range(1, longest + 1):
            size = bucket(length, longest)
            assert length <= size <= longest
            assert size in BUCKETS or size == longest


@torch.inference_mode()
def test_a_hugging_face_text_tower(tmp_path: Path) -> None:
    """Built from a local config; it gets open_clip's own pass, which masks padding, so nothing is cut."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=1000, pad_token_id=0, **sizes)).save_pretrained(tmp_path / "bert")
    text = {"hf_model_name": str(tmp_path / "bert"), "hf_model_pretrained": False, "hf_proj_type": "mlp"}
    config = {**VIT, "custom_text": True, "text_cfg": {**text, "hf_pooler_type": "mean_pooler", "context_length": 16}}
    directory = write_checkpoint(tmp_path / "model", config)
    reference, module = fresh(directory), text_module(fresh(directory)).eval()
    assert (type(module).__name__, facts(module).cuts) == (THEIRS[1], False)
    ids = torch.randint(3, 1000, (4, 16), generator=torch.Generator().manual_seed(0))
    ids[1, 7:] = 0
    together = TextTower(module, facts(module), compiled=False).forward(ids)
    assert difference(together, reference.encode_text(ids)) < 1e-5
    assert difference(module(ids[1:2]), together[1:2]) < 1e-5
