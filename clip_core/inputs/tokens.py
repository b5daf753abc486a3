"""Text → token ids exactly as open_clip's tokenizer gives them, with true lengths and a truncation policy."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_core.errors import BadText
from clip_core.inputs.byte_pairs import BytePairs
from clip_core.inputs.clean_text import bounded
from clip_core.inputs.long_texts import is_settled, last_end, without_voids
from clip_core.inputs.open_clip_tokenizer import load_reference
from clip_core.model_spec import canonical, digest

_CHARS_PER_TOKEN = 16  # of a text that are looked at first
_MOST_CHARS_PER_TOKEN = 64  # and at last, where the first gave too few tokens


@dataclass(frozen=True)
class Tokens:
    """One text: `ids` (context_length,) int64, how many of them are not padding, and whether the text was cut."""

    ids: Tensor
    count: int
    truncated: bool


class Tokenizer:
    """Wraps an open_clip tokenizer (SimpleTokenizer or HFTokenizer).

    The ids are the reference's for any text in whose first 64 characters a token of context there are enough words to
    fill the context; longer runs of whitespace do not count. Of a text that has still less to say, only that much is
    read, and it is said to be truncated.
    """

    def __init__(self, reference: Any, context_length: int) -> None:
        self.reference = reference
        self.context_length = context_length
        self._clean = bounded(reference.clean_fn)
        self._bare = _without_cleaning(reference)

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
        if len(text) > _CHARS_PER_TOKEN * self.context_length:
            return self._of_head(text)
        return self._tokens(text)

    def _of_head(self, text: str) -> Tokens:
        first, most = _CHARS_PER_TOKEN * self.context_length, _MOST_CHARS_PER_TOKEN * self.context_length
        end = last_end(text, first)
        if end is not None and is_settled(text, end, most) and (tokens := self._tokens(text[:end])).truncated:
            return tokens
        if len(text) > most:
            text = without_voids(text)
        if len(text) <= most:
            return self._tokens(text)
        return replace(self._tokens(text[: last_end(text, most) or most]), truncated=True)

    def _tokens(self, text: str) -> Tokens:
        cleaned = self._clean(text)
        if hasattr(self._bare, "encode"):
            codes = self._bare.encode(cleaned)
            count = len(codes) + 2
            ids = self._bare([cleaned])[0] if self._bare.reduction_fn else self._framed(codes)
        else:
            count = len(self._bare.tokenizer(cleaned).input_ids)
            ids = self._bare([cleaned])[0]
        return Tokens(ids, min(count, self.context_length), count > self.context_length)

    def _framed(self, codes: list[int]) -> Tensor:
        """Between the start and the end that SimpleTokenizer sets, padded with zeros."""
        kept = [self._bare.sot_token_id, *codes[: self.context_length - 2], self._bare.eot_token_id]
        return torch.tensor(kept + [0] * (self.context_length - len(kept)))

    def digest(self) -> str:
        """A digest of the vocabulary and rules: equal digests give equal ids."""
        if hasattr(self.reference, "bpe_ranks"):
            rules = [sorted(self.reference.encoder.items()), [list(m) for m in self.reference.bpe_ranks]]
        else:
            rules = json.loads(self.reference.tokenizer.backend_tokenizer.to_str())
        return digest(canonical([type(self.reference).__name__, self.context_length, rules]))


def _without_cleaning(reference: Any) -> Any:
    """The same tokenizer for texts that are clean, with byte pairs that are merged in bounded time and memory."""
    bare = copy.copy(reference)
    bare.clean_fn = str
    if hasattr(bare, "bpe_ranks"):
        special = {token: token for token in (bare.decoder[i] for i in bare.all_special_ids)}
        bare.bpe = BytePairs(bare.bpe_ranks, special)
    return bare


def stack(tokens: Sequence[Tokens]) -> Tensor:
    """→ (B, context_length) int64"""
    return torch.stack([t.ids for t in tokens])
