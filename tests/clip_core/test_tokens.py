"""Token ids equal open_clip's own, at any length, and a long text costs no more than a short one."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadText
from clip_core.tokens import Tokenizer, stack

REFERENCE = open_clip.get_tokenizer("ViT-B-32")
TOKENIZER = Tokenizer(REFERENCE, 77)
EOT = 49407


@given(st.text(min_size=1, max_size=400).filter(lambda text: text.strip()))
def test_ids_equal_the_reference(text: str) -> None:
    assert torch.equal(TOKENIZER(text).ids, REFERENCE([text])[0])


@pytest.mark.parametrize("words", [1, 74, 75, 76, 200, 10_000])
def test_long_texts_are_cut_with_the_end_kept_and_said_so(words: int) -> None:
    text = " ".join(["circle"] * words)
    tokens = TOKENIZER(text)
    assert torch.equal(tokens.ids, REFERENCE([text])[0])
    assert tokens.truncated == (words > 75)
    assert tokens.count == min(words + 2, 77)
    assert tokens.ids[tokens.count - 1] == EOT


def test_long_words_are_not_cut_short() -> None:
    text = " ".join(["internationalization" * 3, "counterrevolutionaries" * 2] * 60)
    assert torch.equal(TOKENIZER(text).ids, REFERENCE([text])[0])


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(BadText, match="empty"):
        TOKENIZER(text)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(BadText, match="the limit is 10"):
        TOKENIZER("a" * 11, max_chars=10)


def test_the_digest_knows_the_vocabulary_and_the_length(checkpoint: Path) -> None:
    assert Tokenizer.load(checkpoint).digest() == TOKENIZER.digest()
    assert Tokenizer(REFERENCE, 64).digest() != TOKENIZER.digest()


def test_stack() -> None:
    assert stack([TOKENIZER("a"), TOKENIZER("b")]).shape == (2, 77)
