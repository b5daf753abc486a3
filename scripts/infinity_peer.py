"""The benchmark's peer: a venv with Infinity, and a ViT-B/32 of random weights in the form that it serves.

    python -m scripts.infinity_peer DIR

makes DIR/venv (needs a package index) and DIR/checkpoint, and prints what to pass to `make bench-gateway`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path

PACKAGES = ("infinity-emb[server,torch,vision]==0.0.78", "torch==2.8.*", "transformers<5", "aiohttp")
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def venv(directory: Path) -> Path:
    """→ its Python, with Infinity installed."""
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    python = directory / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def checkpoint(directory: Path, seed: int = 0) -> Path:
    """transformers' CLIP in its default shape, which is ViT-B/32, with open_clip's tokenizer and image settings."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = CLIPModel(CLIPConfig())
    model.save_pretrained(directory)
    CLIPImageProcessor().save_pretrained(directory)
    write_tokenizer(directory)
    return directory


def write_tokenizer(directory: Path) -> None:
    """vocab.json and merges.txt from the byte-pair file that open_clip ships."""
    import open_clip.tokenizer as source

    with gzip.open(source.default_bpe(), "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    letters = list(source.bytes_to_unicode().values())
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge.split()) for merge in merges]
    vocabulary = {word: number for number, word in enumerate([*words, *_SPECIAL])}
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "unk_token": _SPECIAL[1]}
    settings |= {"bos_token": _SPECIAL[0], "eos_token": _SPECIAL[1], "pad_token": _SPECIAL[1]}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    checkpoint(arguments.directory / "checkpoint")
    python = venv(arguments.directory / "venv")
    print(f"make bench-gateway INFINITY={python.resolve()}")


if __name__ == "__main__":
    main()
