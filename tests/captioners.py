"""A small CoCa of random weights, pictures for it, and captions by open_clip's own forward pass."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.checkpoints import write_checkpoint

SIZE = 32
MERGES = "merges.txt.gz"
WORDS = (
    *("red", "circle", "two", "blue", "squares", "on", "grass", "photo", "of", "word", "the", "in", "dog"),
    *("one", "three", "four", "five", "six", "seven", "big", "cat"),
)


def merges() -> list[str]:
    """Of a byte-pair vocabulary in which each of these words is one token, and every other is spelled."""
    lines: dict[str, None] = {}
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            lines[f"{pieces[0]} {pieces[1]}"] = None
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return list(lines)


VOCABULARY = 512 + len(merges()) + 2  # bytes inside words and at their ends, merges, start and end
START, END = VOCABULARY - 2, VOCABULARY - 1
PROMPT = [START, 320, 512 + merges().index("phot o</w>")]  # "a photo"
COCA: dict[str, Any] = {
    "embed_dim": 32,
    "custom_text": True,
    "vision_cfg": {
        "image_size": SIZE,
        "layers": 2,
        "width": 64,
        "patch_size": 8,
        "head_width": 32,
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "attn_pooler_queries": 17,
        "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 24,
        "vocab_size": VOCABULARY,
        "width": 32,
        "heads": 2,
        "layers": 2,
        "embed_cls": True,
        "output_tokens": True,
        "tokenizer_kwargs": {"bpe_path": MERGES},
    },
    "multimodal_cfg": {"context_length": 24, "vocab_size": VOCABULARY, "width": 32, "heads": 2, "layers": 2},
}
GOLDENS = Path(__file__).parent / "golden" / "captions.json"
FAVOURED = [0, 320, 530, END]  # the padding id, which is "!", the end, and others


def write_captioner(directory: Path, seed: int = 0, favour: float = 1.5, **text: Any) -> Path:
    """Random weights whose captions look at the picture → `directory`. `favour`: how likely they end, or say "!"."""
    config = {**COCA, "text_cfg": {**COCA["text_cfg"], **text}}
    write_checkpoint(directory, config, seed)
    (directory / MERGES).write_bytes(gzip.compress("\n".join(["#version", *merges()]).encode(), mtime=0))
    path = directory / "open_clip_model.safetensors"
    state = load_file(path)
    generator = torch.Generator().manual_seed(seed)
    for name in sorted(state):
        if ".attn." in name or ".mlp." in name or name.endswith(("token_embedding.weight", "positional_embedding")):
            state[name] = torch.randn(state[name].shape, generator=generator) * 0.3
    projection = torch.randn(state["text_decoder.text_projection"].shape, generator=generator)
    projection[:, 1:512] *= 0.5  # bytes: words are readable
    projection[:, FAVOURED] *= favour
    state["text_decoder.text_projection"] = projection * 0.5
    save_file(state, path)
    return directory


def pictures(count: int, size: int = SIZE) -> Tensor:
    """(count, 3, size, size) uint8"""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


@torch.inference_mode()
def greedy_by_open_clip(model: Any, pixels: Tensor, start: int, end: int, longest: int, least: int = 5) -> list[int]:
    """The ids of one normalised picture (1, 3, H, W), each by open_clip's whole forward pass."""
    ids = [start]
    while len(ids) < longest - 1:
        logits = model(pixels, torch.tensor([ids]), output_labels=False)["logits"][0, -1]
        if len(ids) < least:
            logits[end] = float("-inf")
        ids.append(int(logits.argmax()))
        if ids[-1] in (end, 0):
            return ids
    return [*ids, end]


def write_goldens(path: Path) -> None:
    """What open_clip's own `generate` gives → a JSON file. Needs `make setup-captions` on PYTHONPATH:

    PYTHONPATH=.venv/captions .venv/bin/python -c "from tests.captioners import *; write_goldens(GOLDENS)"
    """
    from benchmarks.captions.open_clip_captions import OpenClipCaptions, with_beam_search

    with_beam_search()
    cases = []
    for seed, favour in ((0, 1.5), (1, 2.5)):
        with tempfile.TemporaryDirectory() as work:
            reference = OpenClipCaptions(write_captioner(Path(work), seed, favour))
        pixels = pictures(8)
        found = {"greedy": reference.greedy(pixels, 24), "prompted": reference.greedy(pixels, 24, PROMPT)}
        found |= {f"beam {b} {g}": reference.beam(pixels, 24, b, g) for b, g in ((6, 3), (4, 1), (3, 3))}
        told = {
            name: [{"ids": each.ids, "margin": each.margin} for each in captions] for name, captions in found.items()
        }
        cases.append({"seed": seed, "favour": favour, "captions": told})
    path.write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")
