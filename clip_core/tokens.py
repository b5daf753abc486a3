"""Text → token ids exactly as open_clip's tokenizer gives them, with true lengths and a truncation policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_core.errors import BadText
from clip_core.model_spec import canonical, digest
from clip_core.open_clip_tokenizer import load_reference

_CHARS_PER_TOKEN = 16


@dataclass(frozen=True)
class Tokens:
    """One text: `ids` (context_length,) int64, how many of them are not padding, and whether the text was cut."""

    ids: Tensor
    count: int
    truncated: bool


class Tokenizer:
    """Wraps an open_clip tokenizer (SimpleTokenizer or HFTokenizer)."""

    def __init__(self, reference: Any, context_length: int) -> None:
        self.reference = reference
        self.context_length = context_length

    @classmethod
    def load(cls, model_dir: Path) -> Tokenizer:
        """The tokenizer that the model's `open_clip_config.json` names. Raises BadModel."""
        reference = load_reference(model_dir)
        return cls(reference, int(reference.context_length))

    def __call__(self, text: str, *, max_chars: int = 1_000_000) -> Tokens:
        """Raises BadText for a text that is empty or longer than `max_chars`."""
        if not text.strip():
            raise BadText("the text is empty")
        if len(text) > max_chars:
            raise BadText(f"the text has {len(text):,} characters, the limit is {max_chars:,}")
        head, count = self._head(text)
        ids = self.reference([head])[0]
        return Tokens(ids, min(count, self.context_length), count > self.context_length)

    def _head(self, text: str) -> tuple[str, int]:
        """The start of `text` that fills the context, and its length in tokens: long texts cost no more than short."""
        cut = _CHARS_PER_TOKEN * self.context_length
        while True:
            count = self._count(text[:cut])
            if cut >= len(text) or count > self.context_length:
                return text[:cut], count
            cut *= 2

    def _count(self, text: str) -> int:
        """Tokens of `text` with its special ones, before any cut."""
        if hasattr(self.reference, "encode"):
            return len(self.reference.encode(text)) + 2
        return len(self.reference.tokenizer(self.reference.clean_fn(text)).input_ids)

    def digest(self) -> str:
        """A digest of the vocabulary and rules: equal digests give equal ids."""
        if hasattr(self.reference, "bpe_ranks"):
            rules = [sorted(self.reference.encoder.items()), [list(m) for m in self.reference.bpe_ranks]]
        else:
            rules = json.loads(self.reference.tokenizer.backend_tokenizer.to_str())
        return digest(canonical([type(self.reference).__name__, self.context_length, rules]))


def stack(tokens: Sequence[Tokens]) -> Tensor:
    """→ (B, context_length) int64"""
    return torch.stack([t.ids for t in tokens])
