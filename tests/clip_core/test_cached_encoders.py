"""Behind the cache the encoders answer what the towers compute: same bits, each input once, no error kept."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_core.encode.canaries import check
from clip_core.encode.embedding_cache import EmbeddingCache
from clip_core.encode.encoded import Encoded
from clip_core.encode.encoders import Encoders
from clip_core.endpoint_config import EndpointConfig
from clip_core.errors import BadImage, BadText, ClipServeError, InferenceFailed
from clip_core.inputs.request import Item, Part
from clip_core.inputs.tokens import Tokenizer
from clip_core.model_spec import ModelSpec

LONG = "word " * 200


class FakeTower:
    """Each row's vector is a function of that row alone, in whatever batch it comes; counts the rows it was given."""

    def __init__(self, dim: int) -> None:
        self.dim, self.rows, self.size = dim, 0, (8, 8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.rows += len(inputs)
        return torch.stack([self._vector(row) for row in inputs])

    def transform(self, image: Image.Image) -> torch.Tensor:
        return torch.tensor([*image.getpixel((0, 0)), *image.size], dtype=torch.float32)

    def _vector(self, row: torch.Tensor) -> torch.Tensor:
        seed = int(torch.sum(row.double() * torch.arange(1, row.numel() + 1))) % 2**31
        return torch.from_numpy(np.random.default_rng(seed).normal(size=self.dim).astype(np.float32))


class Fakes:
    """Encoders of an archive's tokenizer and two fake towers."""

    def __init__(self, spec: ModelSpec, tokenizer: Tokenizer, cache: EmbeddingCache | None = None) -> None:
        self.text, self.image = FakeTower(spec.dim), FakeTower(spec.dim)
        self.encoders = Encoders(spec, tokenizer, self.text, self.image, EndpointConfig(max_batch=3), cache)

    def encode(self, *items: Item, cut: bool | Sequence[bool] = True) -> list[Encoded | ClipServeError]:
        return self.encoders.encode(items, cut_long_texts=[cut] * len(items) if isinstance(cut, bool) else cut)


@pytest.fixture(scope="module")
def real(model_dirs: dict[str, Path]) -> Encoders:
    return Encoders.load(model_dirs["multimodal"], EndpointConfig(threads=2))


@pytest.fixture
def fakes(real: Encoders) -> Fakes:
    assert real.tokenizer is not None
    return Fakes(real.spec, real.tokenizer, EmbeddingCache(1 << 20))


def text(value: str, weight: float = 1.0) -> Item:
    return Item((Part("text", value, weight),))


def png(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (red, 10, 20)).save(buffer, "PNG")
    return buffer.getvalue()


def image(value: bytes) -> Item:
    return Item((Part("image", value),))


def plain(result: Encoded | ClipServeError) -> Any:
    """A result as something that compares by bits."""
    if isinstance(result, Encoded):
        return result.vector.tobytes(), result.vector.dtype, result.tokens, result.truncated
    return type(result), result.message, result.param


# The same answers with and without it

PARTS = st.one_of(
    st.builds(Part, st.just("text"), st.sampled_from(["a", "b", "A ", " ", "c d", LONG, LONG + "x"]), st.just(1.0)),
    st.builds(Part, st.just("image"), st.sampled_from([png(1), png(2), b"broken", b""]), st.sampled_from([1.0, -0.5])),
)
ITEMS = st.builds(Item, st.lists(PARTS, min_size=1, max_size=3).map(tuple))
BATCHES = st.lists(st.lists(st.tuples(ITEMS, st.booleans()), max_size=6), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(BATCHES, st.sampled_from(["lru", "lfu"]), st.sampled_from([0, 1500, 4000, 1 << 20]))
def test_cached_results_equal_uncached(
    real: Encoders, batches: list[list[tuple[Item, bool]]], policy: str, max_bytes: int
) -> None:
    assert real.tokenizer is not None
    cached = Fakes(real.spec, real.tokenizer, EmbeddingCache(max_bytes, policy=policy))
    uncached = Fakes(real.spec, real.tokenizer)
    for batch in batches:
        cuts = [cut for _, cut in batch]
        items = [item for item, _ in batch]
        alone = [plain(uncached.encode(item, cut=cut)[0]) for item, cut in batch]
        assert [plain(result) for result in cached.encode(*items, cut=cuts)] == alone
        assert cached.encoders.cache.stats.bytes <= max_bytes


def test_a_hit_is_the_real_towers_vector_bit_for_bit(real: Encoders) -> None:
    cached = real.with_cache(EmbeddingCache(1 << 20))
    items = [text("a dog"), image(png(7)), Item((Part("text", "a dog", 2.0), Part("image", png(7), -1.0)))]
    first, second = (cached.encode(items, cut_long_texts=[True] * 3) for _ in range(2))
    assert [plain(result) for result in first] == [plain(result) for result in second]
    assert cached.cache.stats.hits == 4
    for result, expected in zip(second, real.encode(items, cut_long_texts=[True] * 3), strict=True):
        assert isinstance(result, Encoded)
        assert isinstance(expected, Encoded)
        assert np.allclose(result.vector, expected.vector, atol=1e-6)


def test_a_kept_vector_cannot_be_changed_by_who_gets_it(fakes: Fakes) -> None:
    (result,) = fakes.encode(text("a"))
    assert isinstance(result, Encoded)
    with pytest.raises(ValueError, match="read-only"):
        result.vector[0] = 2.0


# What is computed


def test_equal_parts_of_a_batch_are_computed_once(real: Encoders) -> None:
    assert real.tokenizer is not None
    fakes = Fakes(real.spec, real.tokenizer)  # without a cache too
    both = Item((Part("text", "a", 0.5), Part("image", png(1), 2.0)))
    fakes.encode(text("a"), text("b"), text("a", -1.0), image(png(1)), image(png(2)), both)
    assert (fakes.text.rows, fakes.image.rows) == (2, 2)


def test_only_the_misses_of_a_later_batch_are_computed(fakes: Fakes) -> None:
    fakes.encode(text("a"), image(png(1)))
    fakes.encode(text("b"), text("a"), image(png(1)), image(png(2)))
    assert (fakes.text.rows, fakes.image.rows) == (2, 2)
    stats = fakes.encoders.cache.stats
    assert (stats.hits, stats.misses, stats.entries) == (2, 4, 4)


def test_a_hit_decodes_no_image_and_tokenizes_no_text(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fakes.encode(text("a"), image(png(1)))

    def refuse(*_: object) -> None:
        raise AssertionError("prepared again")

    monkeypatch.setattr(fakes.encoders, "_pixels", refuse)
    monkeypatch.setattr(fakes.encoders, "_tokenize", refuse)
    assert [plain(result) for result in fakes.encode(text("a"), image(png(1)))] == [plain(result) for result in first]


def test_texts_are_told_apart_as_given(fakes: Fakes) -> None:
    fakes.encode(text("a"), text("A"), text("a "))
    assert fakes.text.rows == 3


def test_an_error_is_not_kept(fakes: Fakes) -> None:
    for _ in range(2):
        kinds = [type(result) for result in fakes.encode(text(" "), image(b"broken"), text("a"))]
        assert kinds == [BadText, BadImage, Encoded]
    assert fakes.encoders.cache.stats.entries == 1


def test_a_failed_forward_pass_is_tried_again(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(fakes.text, "_vector", lambda _: torch.full((fakes.text.dim,), float("nan")))
        assert isinstance(fakes.encode(text("a"))[0], InferenceFailed)
    assert isinstance(fakes.encode(text("a"))[0], Encoded)


def test_a_crash_in_the_tower_keeps_nothing(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(fakes.text, "forward", crash)
    with pytest.raises(RuntimeError):
        fakes.encode(text("a"))
    assert fakes.encoders.cache.stats.entries == 0


# Long texts


def test_a_kept_cut_is_still_refused_where_the_request_says_so(fakes: Fakes) -> None:
    (cut,) = fakes.encode(text(LONG))
    assert isinstance(cut, Encoded)
    assert cut.truncated
    (strict,) = fakes.encode(text(LONG), cut=False)
    assert isinstance(strict, BadText)
    assert plain(strict) == plain(Fakes(fakes.encoders.spec, fakes.encoders.tokenizer).encode(text(LONG), cut=False)[0])
    (again,) = fakes.encode(text(LONG))
    assert plain(again) == plain(cut)


@pytest.mark.parametrize("cuts", [[True, False], [False, True]])
def test_one_batch_may_cut_and_refuse_the_same_text(fakes: Fakes, cuts: list[bool]) -> None:
    results = fakes.encode(text(LONG), text(LONG), cut=cuts)
    assert [isinstance(result, Encoded) for result in results] == cuts
    assert fakes.text.rows == 1


def test_a_text_that_nobody_cuts_is_refused_uncomputed(fakes: Fakes) -> None:
    results = fakes.encode(text(LONG), text(LONG), cut=False)
    assert [type(result) for result in results] == [BadText, BadText]
    assert (fakes.text.rows, fakes.encoders.cache.stats.entries) == (0, 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_whatever_a_picture_raises_is_its_own_error(real: Encoders, threads: int) -> None:
    assert real.tokenizer is not None
    tower = FakeTower(real.spec.dim)
    whole = tower.transform

    def transform(picture: Image.Image) -> torch.Tensor:
        if picture.getpixel((0, 0))[0] == 66:
            raise RuntimeError("nobody thought of this")
        return whole(picture)

    tower.transform = transform  # type: ignore[method-assign]
    encoders = Encoders(real.spec, real.tokenizer, None, tower, EndpointConfig(decode_threads=threads))
    results = encoders.encode([image(png(red)) for red in (1, 66, 2, 3)], cut_long_texts=[True] * 4)
    assert [type(result) for result in results] == [Encoded, InferenceFailed, Encoded, Encoded]


# Canaries


def test_encoders_as_loaded_keep_nothing_so_canaries_run_the_towers(
    model_dirs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Encoders.load(model_dirs["text"], EndpointConfig())
    assert loaded.text is not None
    served = loaded.with_cache(EmbeddingCache(1 << 20))
    served.encode([text("a photo of a dog")], cut_long_texts=[True])
    rows: list[int] = []
    forward = loaded.text.forward
    monkeypatch.setattr(loaded.text, "forward", lambda ids: rows.append(len(ids)) or forward(ids))
    first, second = (check(loaded, model_dirs["text"]) for _ in range(2))
    assert sum(rows) == len(first) + len(second)


def test_another_model_never_meets_the_vectors_of_the_last(real: Encoders) -> None:
    assert real.tokenizer is not None
    cache = EmbeddingCache(1 << 20)
    Fakes(real.spec, real.tokenizer, cache).encode(text("a"))
    changed = Fakes(replace(real.spec, fingerprint="0" * 16), real.tokenizer, cache)
    changed.encode(text("a"))
    assert changed.text.rows == 1
