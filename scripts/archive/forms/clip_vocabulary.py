"""Which tokenizer a CLIP of transformers has: CLIP's own vocabulary, which open_clip brings along, or another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clip_core.errors import BadModel
from scripts.archive.assembly.parts import LOCAL
from scripts.archive.assembly.tokenizers import has_tokenizer

_SIZE = 49408
_MARKS = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}  # open_clip's name → transformers'


def choose_tokenizer(folders: Iterable[Path], text: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Keys of `text_cfg`, and a note where a tokenizer was missing. Raises BadModel."""
    folder = next((each for each in folders if has_tokenizer(each)), None)
    if folder is not None:
        return ({} if _is_clips(folder) else {"hf_tokenizer_name": LOCAL}), []
    if text["vocab_size"] == _SIZE:
        return {}, [
            "there is no tokenizer beside the weights: CLIP's own is used, whose size is that of the text tower"
        ]
    raise BadModel(
        f"the tokenizer is missing, and CLIP's own has {_SIZE:,} tokens, the text tower {text['vocab_size']:,} "
        "embeddings: name one with --tokenizer"
    )


def _is_clips(folder: Path) -> bool:
    """Whether words and merges are the ones of OpenAI's CLIP."""
    from clip_core.inputs.open_clip_tokenizer import load_standard

    vocabulary = _vocabulary(folder)
    if len(vocabulary) != _SIZE:
        return False
    reference = load_standard()
    return vocabulary == {_MARKS.get(token, token): i for token, i in reference.encoder.items()}


def _vocabulary(folder: Path) -> dict[str, int]:
    try:
        if (folder / "tokenizer.json").is_file():
            body = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        else:
            body = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        return dict(body)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
