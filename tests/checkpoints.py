"""Small checkpoints of random weights in the hub's file layout, for tests that need a model and no meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

VIT: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}

_UNSET = "text_decoder.text_projection"  # open_clip leaves there what was in the memory


def write_checkpoint(directory: Path, model_cfg: dict[str, Any] = VIT, seed: int = 0, **preprocess: Any) -> Path:
    """`open_clip_config.json` and `open_clip_model.safetensors` with seeded random weights → `directory`."""
    import open_clip

    directory.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (directory / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{directory}", load_weights=False)
    state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    if _UNSET in state:
        torch.nn.init.normal_(state[_UNSET], std=0.1)
    save_file(
        state,
        directory / "open_clip_model.safetensors",
    )
    return directory


def write_word_tokenizer(directory: Path) -> Path:
    """A Hugging Face tokenizer of a few whole words, with the special tokens that SigLIP's has → `directory`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    nouns = ("a", "an", "the", "photo", "of", "dog", "cat", "red", "blue", "green", "circle", "square", "on", "and")
    words = ["<pad>", "</s>", "<unk>", *nouns]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)  # type: ignore[no-untyped-call]
    fast.save_pretrained(str(directory))
    return directory
