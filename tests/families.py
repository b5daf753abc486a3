"""A small model of each family of open_clip architectures, with the inputs that they are compared on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image

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


def write_hugging_face(directory: Path) -> Path:
    """A checkpoint whose text tower is a BERT, built from a local config; its ids end at 1000, its context at 16."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=1000,
        pad_token_id=0,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(directory / "bert")
    text = {"hf_model_name": str(directory / "bert"), "hf_model_pretrained": False, "hf_proj_type": "mlp"}
    model = {**VIT, "custom_text": True, "text_cfg": {**text, "hf_pooler_type": "mean_pooler", "context_length": 16}}
    return write_checkpoint(directory / "model", model)


def write_family(directory: Path, family: str) -> Path:
    """The checkpoint of a family by its name, or of "hugging face" → a directory below `directory`."""
    if family == "hugging face":
        return write_hugging_face(directory)
    return write_checkpoint(directory / "model", FAMILIES[family][0])


def hugging_face_ids() -> torch.Tensor:
    """(4, 16) int64: whole texts, and a short one with padding."""
    ids = torch.randint(3, 1000, (4, 16), generator=torch.Generator().manual_seed(0))
    ids[1, 7:] = 0
    return ids


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
