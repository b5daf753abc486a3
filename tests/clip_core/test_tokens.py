"""Token ids equal open_clip's own, at any length, and a long text costs no more than a short one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clip_core.errors import BadModel, BadText
from clip_core.inputs.tokens import Tokenizer, stack
from scripts.archive.input_check import check_tokens
from tests.checkpoints import write_word_tokenizer

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


def lone(directory: Path, **text: Any) -> Tokenizer:
    """What a worker loads, without open_clip itself."""
    config = {"model_cfg": {"text_cfg": {"context_length": 77, **text}}}
    (directory / "open_clip_config.json").write_text(json.dumps(config))
    return Tokenizer.load(directory)


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"context_length": 32},
        {"tokenizer_kwargs": {"clean": "canonicalize"}},
        {"tokenizer_kwargs": {"additional_special_tokens": ["<x>"]}},
        {"hf_tokenizer_name": "words"},
        {"hf_tokenizer_name": "words", "tokenizer_kwargs": {"clean": "canonicalize", "strip_sep_token": False}},
    ],
    ids=str,
)
def test_the_lone_tokenizer_is_the_one_open_clip_would_give(tmp_path: Path, text: dict[str, Any]) -> None:
    write_word_tokenizer(tmp_path)
    ours = lone(tmp_path, **text)
    check_tokens(open_clip.get_tokenizer(f"local-dir:{tmp_path}"), ours)


def test_the_build_compares_ids_with_open_clip(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="other ids"):
        check_tokens(REFERENCE, lone(tmp_path, context_length=32))
    with pytest.raises(BadModel, match="other ids"):
        check_tokens(REFERENCE, lone(tmp_path, tokenizer_kwargs={"clean": "canonicalize"}))


def test_a_tokenizer_whose_files_are_missing_is_a_bad_model(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"open_clip_config.json"):
        Tokenizer.load(tmp_path)
    with pytest.raises(BadModel, match="can't be loaded"):
        lone(tmp_path, hf_tokenizer_name="words")


def test_stack() -> None:
    assert stack([TOKENIZER("a"), TOKENIZER("b")]).shape == (2, 77)
