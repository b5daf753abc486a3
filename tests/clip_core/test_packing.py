"""Passes hold every text once, within bounds, at no more than the cost of the plain ways to cut a batch."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from clip_core.towers.text_batching import padded, plan

BUCKETS = (8, 16, 24, 32, 48, 64, 77)
LENGTHS = st.lists(st.integers(1, 77), max_size=40)


def cost(groups: list[list[int]], lengths: list[int], pass_overhead_tokens: int) -> int:
    return sum(len(g) * padded(max(lengths[i] for i in g), BUCKETS) + pass_overhead_tokens for g in groups)


def chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[i : i + size] for i in range(0, len(order), size)]


@given(LENGTHS, st.integers(1, 16), st.integers(0, 400))
def test_every_text_once_in_bounds_and_never_dearer_than_the_plain_ways(
    lengths: list[int], max_batch: int, pass_overhead_tokens: int
) -> None:
    groups = plan(lengths, BUCKETS, max_batch, pass_overhead_tokens)
    assert sorted(itertools.chain.from_iterable(groups)) == list(range(len(lengths)))
    assert all(1 <= len(group) <= max_batch for group in groups)
    by_bucket = [
        chunk
        for bucket in BUCKETS
        for chunk in chunks([i for i, n in enumerate(lengths) if padded(n, BUCKETS) == bucket], max_batch)
    ]
    as_given = chunks(list(range(len(lengths))), max_batch)
    assert cost(groups, lengths, pass_overhead_tokens) <= cost(by_bucket, lengths, pass_overhead_tokens)
    if len(lengths) <= max_batch:
        assert cost(groups, lengths, pass_overhead_tokens) <= cost(as_given, lengths, pass_overhead_tokens)


def test_a_long_text_does_not_pad_many_short_ones() -> None:
    assert plan([5] * 15 + [70], BUCKETS, 64, 64) == [list(range(15)), [15]]


def test_little_padding_is_not_worth_a_pass() -> None:
    assert plan([5, 12], BUCKETS, 64, 64) == [[0, 1]]


def test_a_tower_of_one_length_takes_them_as_they_come() -> None:
    assert plan([5, 70, 6, 77, 3], (77,), 2, 64) == [[0, 1], [2, 3], [4]]
    assert plan([], (77,), 2, 64) == []
