"""SigLIP's tokenizer, a SentencePiece model, as a fast one that a worker loads without SentencePiece."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

from clip_core.errors import BadModel
from scripts.hub.refusals import first_line

_CLASSES = ("SiglipTokenizer", "SiglipTokenizerFast")


def is_siglips(folder: Path) -> bool:
    """Whether a folder's tokenizer is of the class that drops case and punctuation before it looks at words."""
    try:
        body = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(body, dict) and body.get("tokenizer_class") in _CLASSES


def lay_fast(folder: Path, target: Path) -> None:
    """Raises BadModel."""
    from transformers import PreTrainedTokenizerFast, T5Tokenizer

    if not (folder / "tokenizer.json").is_file() and not _reads_sentencepiece():
        raise BadModel(
            f"the tokenizer in {folder} is a SentencePiece model: `pip install sentencepiece protobuf` and build again"
        )
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
        else:
            tokenizer = T5Tokenizer.from_pretrained(str(folder), extra_ids=0)
        tokenizer.save_pretrained(str(target))
    except Exception as error:  # transformers raises many kinds
        raise BadModel(f"the tokenizer in {folder} can't be read: {first_line(error)}") from error


def _reads_sentencepiece() -> bool:
    try:
        import_module("google.protobuf")
        import_module("sentencepiece")
    except ImportError:
        return False
    return True
