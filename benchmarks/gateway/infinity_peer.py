"""The gateway benchmark's peer: a venv with Infinity, and a ViT-B/32 of random weights in the forms that both serve.

    python -m benchmarks.gateway.infinity_peer DIR

makes DIR/venv (needs a package index, and a few minutes), DIR/ours, DIR/checkpoint with the same weights, and our
archives of them in DIR/model_store; `make bench-gateway INFINITY=DIR` measures with it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch is slow to import, and a benchmark that only serves does without
    import torch

PACKAGES = ("infinity-emb[server,torch,vision]==0.0.78", "torch==2.8.*", "transformers<5", "aiohttp")
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_VERSIONS = """
import importlib.metadata, json, torch
names = ("infinity-emb", "torch", "transformers")
print(json.dumps({**{name: importlib.metadata.version(name) for name in names}, "threads": torch.get_num_threads()}))
"""


class Peer:
    """The folder that `main` makes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python, self.command = directory / "venv" / "bin" / "python", directory / "venv" / "bin" / "infinity_emb"
        self.our_weights, self.checkpoint = directory / "ours", directory / "checkpoint"
        self.model_store, self.log = directory / "model_store", directory / "infinity.log"

    def versions(self) -> dict[str, Any]:
        """Of the packages that its server runs on, and the threads that its torch takes."""
        done = subprocess.run([str(self.python), "-c", _VERSIONS], check=True, capture_output=True, text=True)
        versions: dict[str, Any] = json.loads(done.stdout)
        return versions

    def make_models(self) -> None:
        """Weights of one random model for us and for Infinity, and our archives, which takes minutes."""
        from rich.console import Console

        from scripts.archive.build import build
        from scripts.archive.random_checkpoint import write_random
        from scripts.progress import WorkProgress

        write_random(self.our_weights, "ViT-B-32")
        checkpoint(self.our_weights, self.checkpoint)
        store, progress = self.model_store, WorkProgress(Console())
        build("vit-b-32", checkpoint=self.our_weights, precision="int8", model_store=store, progress=progress)

    def make_venv(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(self.directory / "venv")], check=True)
        subprocess.run([str(self.python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


def checkpoint(source: Path, directory: Path) -> None:
    """open_clip's weights in `source` → transformers' CLIPModel in `directory`, with tokenizer and image settings."""
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    from clip_core.model_spec import WEIGHTS_FILE

    special = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    config = CLIPConfig(text_config={"hidden_act": "gelu", **special}, vision_config={"hidden_act": "gelu"})
    model = CLIPModel(config)  # whose defaults are the shape of ViT-B/32
    model.load_state_dict(transformers_names(load_file(source / WEIGHTS_FILE)))
    model.save_pretrained(directory)
    CLIPImageProcessor().save_pretrained(directory)
    write_tokenizer(directory)


_TOWER_NAMES = {
    "conv1.weight": "embeddings.patch_embedding.weight",
    "class_embedding": "embeddings.class_embedding",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
}
_PARTS = {
    "ln_pre.": "pre_layrnorm.",
    "ln_post.": "post_layernorm.",
    "ln_final.": "final_layer_norm.",
    "transformer.resblocks.": "encoder.layers.",
    ".attn.": ".self_attn.",
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}


def transformers_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's state of a ViT CLIP under the names of transformers' CLIPModel."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        tower, inner = ("vision_model", name[7:]) if name.startswith("visual.") else ("text_model", name)
        if name == "logit_scale":
            renamed[name] = tensor
        elif inner in ("proj", "text_projection"):
            renamed["visual_projection.weight" if inner == "proj" else "text_projection.weight"] = tensor.T.contiguous()
        elif ".in_proj_" in inner:
            stem, kind = _renamed(inner).split("in_proj_")
            renamed |= {f"{tower}.{stem}{p}_proj.{kind}": t for p, t in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            renamed[f"{tower}.{_renamed(inner)}"] = tensor
    return renamed


def _renamed(name: str) -> str:
    if name in _TOWER_NAMES:
        return _TOWER_NAMES[name]
    for ours, theirs in _PARTS.items():
        name = name.replace(ours, theirs)
    return name


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
    parser.add_argument("--no-venv", action="store_true", help="weights and archives only: the venv is there")
    given = parser.parse_args()
    peer = Peer(given.directory.resolve())
    peer.make_models()
    if not given.no_venv:
        peer.make_venv()
    print(f"make bench-gateway INFINITY={peer.directory}")


if __name__ == "__main__":
    main()
