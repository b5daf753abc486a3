"""The cache: a key for whatever changes a vector, bounded memory, its policies and its time."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.encode.embedding_cache import EmbeddingCache, content_key
from clip_core.encode.encoded import Encoded
from clip_core.endpoint_config import EndpointConfig
from clip_core.inputs.request import Part
from clip_core.model_spec import ModelSpec
from tests.clock import Clock

SPEC = ModelSpec("m", "multimodal", 4, 77, "f" * 16)
ENTRY = 4 * 4 + 1024  # bytes that a (4,) vector is counted as


def encoded(n: float = 1.0, dim: int = 4) -> Encoded:
    return Encoded(np.full(dim, n, np.float32), 3)


def key(n: int) -> bytes:
    return content_key(Part("text", str(n)), SPEC)


# Keys


@pytest.mark.parametrize(
    "other",
    [
        (Part("text", "b"), SPEC),
        (Part("image", b"a"), SPEC),
        (Part("text", "a"), replace(SPEC, fingerprint="e" * 16)),
        (Part("text", "a"), replace(SPEC, precision="bf16")),
        (Part("text", "a"), replace(SPEC, context_length=32)),
    ],
)
def test_whatever_changes_a_vector_changes_its_key(other: tuple[Part, ModelSpec]) -> None:
    assert content_key(*other) != content_key(Part("text", "a"), SPEC)


def test_a_weight_changes_no_key() -> None:
    assert content_key(Part("text", "a", -3.0), SPEC) == content_key(Part("text", "a"), SPEC)


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_different_texts_have_different_keys_lone_surrogates_too(one: str, other: str) -> None:
    assert (content_key(Part("text", one), SPEC) == content_key(Part("text", other), SPEC)) == (one == other)


# Bounds, policies, time

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "get", "discard", "wait"]), st.integers(0, 9), st.integers(1, 700)), max_size=60
)


@settings(deadline=None)
@given(OPERATIONS, st.sampled_from(["lru", "lfu"]), st.integers(0, 8000), st.sampled_from([0.0, 5.0]))
def test_bytes_never_pass_the_bound_and_a_hit_is_the_last_put(
    operations: list[tuple[str, int, int]], policy: str, max_bytes: int, ttl_s: float
) -> None:
    clock, last, put_at = Clock(), dict[int, Encoded](), dict[int, float]()
    cache = EmbeddingCache(max_bytes, ttl_s=ttl_s, policy=policy, clock=clock)
    for operation, n, dim in operations:
        if operation == "put":
            last[n], put_at[n] = encoded(n, dim), clock.now
            cache.put(key(n), last[n])
        elif operation == "get":
            hit = cache.get(key(n))
            assert hit is None or (hit is last[n] and (not ttl_s or clock.now < put_at[n] + ttl_s))
        elif operation == "discard":
            cache.discard(key(n))
            assert cache.get(key(n)) is None
        else:
            clock.now += n
        stats = cache.stats
        assert 0 <= stats.bytes <= max_bytes
        assert (stats.entries == 0) == (stats.bytes == 0)


@pytest.mark.parametrize("policy", ["lru", "lfu"])
def test_counted_bytes_are_about_the_memory_taken(policy: str) -> None:
    cache = EmbeddingCache(1 << 30, policy=policy)
    tracemalloc.start()
    try:
        for i in range(1000):
            cache.put(os.urandom(32), Encoded(np.ones(512, np.float32), 1000 + i))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 * cache.stats.bytes < taken < 1.1 * cache.stats.bytes


@pytest.mark.parametrize(("policy", "kept"), [("lru", [True, False, True]), ("lfu", [False, True, True])])
def test_a_full_cache_drops_the_least_recently_or_frequently_used(policy: str, kept: list[bool]) -> None:
    cache = EmbeddingCache(2 * ENTRY, policy=policy)
    cache.put(key(1), encoded(1))
    cache.put(key(2), encoded(2))
    for _ in range(3):
        cache.get(key(2))
    cache.get(key(1))
    cache.put(key(3), encoded(3))
    assert [cache.get(key(n)) is not None for n in (1, 2, 3)] == kept
    assert cache.stats.evictions == 1


@pytest.mark.parametrize("policy", ["lru", "lfu"])
def test_time_ends_an_entry_whatever_its_use(policy: str) -> None:
    clock = Clock()
    cache = EmbeddingCache(1 << 20, ttl_s=10.0, policy=policy, clock=clock)
    cache.put(key(1), encoded(1))
    clock.now = 6.0
    cache.put(key(2), encoded(2))
    assert cache.get(key(1)) is not None
    clock.now = 9.999
    assert cache.get(key(1)) is not None
    clock.now = 10.0
    assert cache.get(key(1)) is None
    assert cache.get(key(2)) is not None
    stats = cache.stats
    assert (stats.expired, stats.evictions, stats.entries, stats.bytes) == (1, 0, 1, ENTRY)


def test_without_a_ttl_nothing_ends() -> None:
    clock = Clock()
    cache = EmbeddingCache(1 << 20, clock=clock)
    cache.put(key(1), encoded(1))
    clock.now = 1e12
    assert cache.get(key(1)) is not None


@pytest.mark.parametrize("max_bytes", [0, ENTRY - 1])
def test_what_does_not_fit_is_not_kept(max_bytes: int) -> None:
    cache = EmbeddingCache(max_bytes)
    cache.put(key(1), encoded(1))
    assert cache.get(key(1)) is None
    assert cache.stats.bytes == 0


def test_invalidation_by_key_and_of_everything() -> None:
    cache = EmbeddingCache(1 << 20)
    for n in range(3):
        cache.put(key(n), encoded(n))
    assert cache.discard(key(0))
    assert not cache.discard(key(0))
    assert [cache.get(key(n)) is not None for n in range(3)] == [False, True, True]
    cache.clear()
    assert (cache.stats.entries, cache.stats.bytes, cache.stats.hits) == (0, 0, 2)


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (EndpointConfig(), 1),
        (EndpointConfig(cache_policy="lfu", cache_ttl_s=1.0), 1),
        (EndpointConfig(cache_bytes=0), 0),
    ],
)
def test_an_endpoints_settings_make_its_cache(config: EndpointConfig, kept: int) -> None:
    cache = EmbeddingCache.from_config(config)
    cache.put(key(1), encoded(1))
    assert cache.stats.entries == kept
