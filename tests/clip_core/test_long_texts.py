"""Ids are open_clip's own whatever a text holds, and no text takes more than a bounded time and memory."""

from __future__ import annotations

import copy
import itertools
import time

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer, _clean_canonicalize, _clean_lower, _clean_whitespace

from clip_core.errors import BadText
from clip_core.inputs.byte_pairs import BytePairs, merged
from clip_core.inputs.clean_text import basic_clean, bounded
from clip_core.inputs.tokens import Tokenizer

REFERENCE = open_clip.get_tokenizer("ViT-B-32")
SHORT = SimpleTokenizer(context_length=8)  # its first window has 128 characters, its last 512
TOKENIZER, SHORT_TOKENIZER = Tokenizer(REFERENCE, 77), Tokenizer(SHORT, 8)
CANONICAL = copy.copy(REFERENCE)
CANONICAL.clean_fn = _clean_canonicalize

PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["a", "red circle", "internationalization", "x" * 30, "东京", "红色的圆形，", "été ", "ﬁﬂ", "ＡＢＣ"]
    ),
    st.sampled_from([" ", "\n", "\t", "\r\n", "\xa0", "\u3000", "\u2028", "\x85", "\x1c", "\x00", "\ufeff", "。"]),
    st.sampled_from(
        ["&nbsp;", "&amp;", "&amp;amp;nbsp;", "&lt;b&gt;", "<", "&eacute;", "&#32;", "&#x41;", "&", ";", "amp;"]
    ),
    st.sampled_from(["Ã©", "â€™", "Ã ", "doesnâ€™t", "ä¸œäº¬", "&Atilde;&copy;", "\x1b[31m", "\x1b[1", "„", "\x81"]),
    st.sampled_from(
        ["e\u0301", "\u0316", "\u0301", "가", "ᄀ", "ᅡ", "ᆨ", "İ", "ſ", "👩‍👧", "\u200b", "'s", "<start_of_text>"]
    ),
)
REPEATED = st.builds(lambda piece, times: piece * times, PIECES, st.sampled_from([1, 1, 1, 2, 5, 20, 60]))
TEXTS = st.lists(REPEATED, min_size=1, max_size=25).map("".join).filter(lambda text: text.strip())


def same(ours: Tokenizer, reference: SimpleTokenizer, text: str) -> bool:
    tokens = ours(text)
    whole = len(reference.encode(text)) + 2
    size = reference.context_length
    return torch.equal(tokens.ids, reference([text])[0]) and (tokens.count, tokens.truncated) == (
        min(whole, size),
        whole > size,
    )


@settings(max_examples=100)
@given(TEXTS)
def test_ids_and_counts_equal_the_reference_at_any_cut(text: str) -> None:
    assert same(SHORT_TOKENIZER, SHORT, text[:512] if text[:512].strip() else "a")


@settings(max_examples=60)
@given(TEXTS)
def test_ids_and_counts_equal_the_reference(text: str) -> None:
    assert same(TOKENIZER, REFERENCE, text[:4928] if text[:4928].strip() else "a")


@settings(max_examples=60)
@given(st.text(st.sampled_from(" \n\t\r\xa0"), min_size=16, max_size=3000), st.text("ab é\n&<;", max_size=60))
def test_runs_of_whitespace_hide_no_word(run: str, words: str) -> None:
    for text in (f"a{run}{words} b", run.replace("\xa0", "&nbsp;") + words + " b"):
        assert same(SHORT_TOKENIZER, SHORT, text)


@pytest.mark.parametrize("clean", [_clean_lower, _clean_whitespace, _clean_canonicalize])
@settings(max_examples=30)
@given(text=TEXTS)
def test_cleaning_is_open_clips(clean: object, text: str) -> None:
    assert bounded(clean)(text) == clean(text)  # type: ignore[arg-type, operator]


def test_cleaning_that_is_not_known_here_stays_as_it_is() -> None:
    assert bounded(str.swapcase) is str.swapcase


def test_a_number_of_a_character_without_end_is_a_bad_text() -> None:
    with pytest.raises(BadText, match="digits"):
        basic_clean("<&#" + "1" * 5000 + ";")


# Byte pairs


def test_a_merge_comes_before_all_merges_of_its_product() -> None:
    made: dict[str, int] = {}
    for (left, right), rank in REFERENCE.bpe_ranks.items():
        assert max(made.get(left, -1), made.get(right, -1)) < rank
        made[left + right] = rank


WORD_PIECES = st.sampled_from([*"abcdefgilmnorstu.!😂é", "th", "ing", "the", "aa", "..", "ation", "counter"])


@settings(max_examples=60)
@given(st.lists(st.one_of(WORD_PIECES, st.characters(codec="utf-8")), min_size=1, max_size=80).map("".join))
def test_byte_pairs_are_open_clips(text: str) -> None:
    fresh = SHORT
    word = "".join(fresh.byte_encoder[byte] for byte in text.encode())
    assert BytePairs(fresh.bpe_ranks, {})(word) == fresh.bpe(word)


def test_special_tokens_are_whole() -> None:
    assert BytePairs(REFERENCE.bpe_ranks, {"<end_of_text>": "<end_of_text>"})("<end_of_text>") == "<end_of_text>"


# What it may cost


class Counted(dict[tuple[str, str], int]):
    """Ranks that count how often they are asked for one."""

    asked = 0

    def get(self, *arguments: object) -> int | None:
        self.asked += 1
        return super().get(*arguments)  # type: ignore[call-overload, no-any-return]


def test_a_long_word_takes_steps_in_proportion_to_its_length() -> None:
    ranks = Counted(REFERENCE.bpe_ranks)
    word = "".join(itertools.islice(itertools.cycle("internationalization"), 4000))
    merged(list(word), ranks)
    assert 0 < ranks.asked < 3 * len(word)


def test_the_cache_of_words_is_bounded() -> None:
    pairs = BytePairs(REFERENCE.bpe_ranks, {})
    for n in range(20_000):
        pairs(f"w{n}")
    assert pairs._cached.cache_info().currsize <= 16_384
    before = pairs._cached.cache_info().currsize
    pairs("x" * 100)
    assert pairs._cached.cache_info().currsize == before, "a long word is not kept"


def test_open_clips_own_cache_does_not_grow() -> None:
    before = len(REFERENCE.cache)
    TOKENIZER("neverseenbefore" * 3)
    assert len(REFERENCE.cache) == before


HOSTILE = {
    "one word": "x" * 1_000_000,
    "a word of words": "internationalization" * 50_000,
    "nested ampersands": "&" + "amp;" * 249_000,
    "wide ampersands": "＆" + "ａｍｐ；" * 249_000,
    "other spaces as entities": "&emsp;&nbsp;" * 83_000,
    "marks": "a" + "\u0316\u0301" * 499_999,
    "controls": "a" + "\x01\n" * 499_999,
    "broken encodings": "Ã©Ã¨" * 250_000,
    "escapes": "\x1b[" + "1" * 999_000,
    "a number": "<&#x" + "0" * 999_000 + "65;",
    "punctuation": "." * 1_000_000,
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("reference", [REFERENCE, CANONICAL], ids=["lower", "canonicalize"])
def test_no_text_holds_a_worker(hostile: str, reference: SimpleTokenizer) -> None:
    tokenizer = Tokenizer(reference, 77)
    started = time.process_time()
    tokens = tokenizer(HOSTILE[hostile][:300_000])
    assert time.process_time() - started < 20.0, "the worst took minutes"
    assert tokens.truncated
