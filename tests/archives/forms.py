"""One small model of each form that weights come in, made by the libraries that make such files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from tests.checkpoints import VIT, write_checkpoint, write_word_tokenizer

TEXTS = ["a red circle", "two blue stars on a black background", "a photo of a dog"]
SMALL = {"hidden_size": 64, "intermediate_size": 150, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = 17  # of `write_word_tokenizer`


def write_architecture(path: Path, config: dict[str, Any] = VIT) -> Path:
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def fine_tuned(folder: Path, config: dict[str, Any] = VIT, steps: int = 3) -> tuple[Any, dict[str, Any]]:
    """A model after real steps of open_clip's own training, and what `open_clip_train` saves of it."""
    from open_clip.loss import ClipLoss

    model = open_clip.create_model(f"local-dir:{write_checkpoint(folder / 'start', config)}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder / 'start'}")
    size = config["vision_cfg"]["image_size"]
    pictures = torch.randn(len(TEXTS), 3, size, size, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        loss = ClipLoss()(model.encode_image(pictures, True), model.encode_text(tokenizer(TEXTS), True), 100.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    saved = {"module." + key: value for key, value in model.state_dict().items()}  # DistributedDataParallel's names
    epoch = {"epoch": 1, "name": "run", "state_dict": saved, "optimizer": optimizer.state_dict()}
    return model.eval(), epoch


def randomise(model: nn.Module) -> nn.Module:
    """Weights so large that every part of the network matters."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
        elif name.endswith("bias"):
            nn.init.normal_(parameter, std=0.05)
    return model.eval()


def write_clip(folder: Path, activation: str = "quick_gelu", **text: Any) -> Any:
    """transformers' CLIPModel with CLIP's own vocabulary, saved as `save_pretrained` does; no tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={**SMALL, "hidden_act": activation, **text},
        vision_config={**SMALL, "hidden_act": activation, "image_size": 32, "patch_size": 8},
        projection_dim=48,
    )
    model = randomise(CLIPModel(config))
    model.save_pretrained(folder)
    return model


def write_siglip(folder: Path, activation: str = "gelu_pytorch_tanh") -> Any:
    """transformers' SiglipModel with a small tokenizer and its image processor."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    sizes = {**SMALL, "hidden_act": activation}
    config = SiglipConfig(
        text_config={**sizes, "vocab_size": WORDS, "max_position_embeddings": 16, "projection_size": 64},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
    )
    model = randomise(SiglipModel(config))
    model.save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    write_word_tokenizer(folder)
    return model


def of_open_clip(model: Any, tokenizer: Any, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors of TEXTS, (3, D), and of normalised pixels, (N, D)."""
    with torch.inference_mode():
        return model.encode_text(tokenizer(TEXTS), normalize=True), model.encode_image(pictures, normalize=True)


def of_transformers(model: Any, ids: torch.Tensor, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by transformers' own forward passes."""
    with torch.inference_mode():
        found = model.get_text_features(ids).pooler_output, model.get_image_features(pictures).pooler_output
    text, image = (nn.functional.normalize(each, dim=-1) for each in found)
    return text, image
