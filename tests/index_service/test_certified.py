"""Certified search equals brute force in float64, ids and scores, on data that is made to break its bounds."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.wire import FloatArray, unit
from index_service.collection.vectors import MOST_NORM
from index_service.engines.base import BuildCancelled, Metric
from index_service.engines.bounds import max_norm_of
from index_service.engines.exact import scan as scan_module
from index_service.engines.exact.certified import CertifiedBackend
from index_service.engines.exact.int8 import encode
from index_service.engines.exact.rescoring import rescore_all
from index_service.engines.exact.segment import ExactBackend
from tests.index_service.helpers import rows_of, unit_rows

ROWS = 3000  # a draft of 512 is tried from 2048 on


def spread(rng: np.random.Generator, dim: int) -> FloatArray:
    return unit(rng.standard_normal((ROWS, dim)).astype(np.float32))


def duplicates(rng: np.random.Generator, dim: int) -> FloatArray:
    return spread(rng, dim)[rng.integers(40, size=ROWS)]


def near_ties(rng: np.random.Generator, dim: int) -> FloatArray:
    centre = rng.standard_normal((1, dim))
    return unit((centre + 10.0 ** rng.uniform(-8, -1, (ROWS, 1)) * rng.standard_normal((ROWS, dim))).astype(np.float32))


def outliers(rng: np.random.Generator, dim: int) -> FloatArray:
    """A few rows lie along single axes and stretch every step of the codes."""
    rows = unit((np.ones(dim) + 0.01 * rng.standard_normal((ROWS, dim))).astype(np.float32))
    for place in rng.integers(ROWS, size=3):
        rows[place] = 0
        rows[place, rng.integers(dim)] = rng.choice([-1, 1])
    return rows


def tiny_norms(rng: np.random.Generator, dim: int) -> FloatArray:
    """Norms from 1e-25 to 1e15 before normalisation: what float32 kept of the smallest is coarse."""
    return unit((10.0 ** rng.uniform(-25, 15, (ROWS, 1)) * rng.standard_normal((ROWS, dim))).astype(np.float32))


def constant_dimensions(rng: np.random.Generator, dim: int) -> FloatArray:
    rows = rng.standard_normal((ROWS, dim)).astype(np.float32)
    rows[:, ::2] = 0.5
    return unit(rows)


def clustered(rng: np.random.Generator, dim: int) -> FloatArray:
    centres = rng.standard_normal((10, dim))
    return unit((centres[rng.integers(10, size=ROWS)] + 0.05 * rng.standard_normal((ROWS, dim))).astype(np.float32))


Kind = Callable[[np.random.Generator, int], FloatArray]
KINDS: list[Kind] = [spread, duplicates, near_ties, outliers, tiny_norms, constant_dimensions, clustered]


def lognormal(rng: np.random.Generator, dim: int) -> FloatArray:
    return (spread(rng, dim) * rng.lognormal(0, 1, (ROWS, 1))).astype(np.float32)


def huge(rng: np.random.Generator, dim: int) -> FloatArray:
    """As long as is let in, and nearly."""
    return (spread(rng, dim) * rng.uniform(0.9, 0.999, (ROWS, 1)) * MOST_NORM).astype(np.float32)


def tiny(rng: np.random.Generator, dim: int) -> FloatArray:
    """Products of these leave float32 nothing, or little."""
    return (spread(rng, dim) * 10.0 ** rng.uniform(-24, -16, (ROWS, 1))).astype(np.float32)


def denormal(rng: np.random.Generator, dim: int) -> FloatArray:
    return (spread(rng, dim) * 10.0 ** rng.uniform(-44, -38, (ROWS, 1))).astype(np.float32)


def of_all_lengths(rng: np.random.Generator, dim: int) -> FloatArray:
    return (spread(rng, dim) * 10.0 ** rng.uniform(-20, 17.99, (ROWS, 1))).astype(np.float32)


def with_zeros(rng: np.random.Generator, dim: int) -> FloatArray:
    rows = lognormal(rng, dim)
    rows[rng.random(ROWS) < 0.5] = 0
    return rows


def all_zero(rng: np.random.Generator, dim: int) -> FloatArray:
    del rng
    return np.zeros((ROWS, dim), np.float32)


def near_ties_of_other_lengths(rng: np.random.Generator, dim: int) -> FloatArray:
    """Short rows beside one so long that float32 scores can't tell the others apart."""
    rows = near_ties(rng, dim)
    rows[rng.integers(ROWS, size=3)] *= np.float32(1e9)
    return rows


def cancelling(rng: np.random.Generator, dim: int) -> FloatArray:
    """Huge entries whose products cancel, so that what is left is all rounding to float32."""
    rows = rng.standard_normal((ROWS, dim)).astype(np.float32)
    rows[:, : dim // 2] *= np.float32(1e8)
    rows[:, dim // 2 : 2 * (dim // 2)] = -rows[:, : dim // 2] * (1 + rng.integers(-3, 4, (ROWS, 1)) * 2.0**-20)
    return rows


LENGTHS: list[Kind] = [lognormal, huge, tiny, denormal, of_all_lengths, with_zeros, all_zero, cancelling]
ANY: list[Kind] = [*KINDS, *LENGTHS, near_ties_of_other_lengths]


def brute(rows: FloatArray, query: FloatArray, k: int, mask: np.ndarray) -> tuple[list[int], list[float]]:
    """The definition: float64 dot products rounded to float32; ties go by row."""
    scores = np.vecdot(rows.astype(np.float64), query.astype(np.float64)).astype(np.float32)
    allowed = np.flatnonzero(mask)
    best = allowed[np.lexsort((allowed, -scores[allowed]))][:k]
    return best.tolist(), scores[best].tolist()


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from([1, 3, 16, 64, 100]),
    k=st.sampled_from([1, 2, 10, 60]),
    share=st.sampled_from([1.0, 0.9, 0.4, 0.01]),
    own=st.booleans(),
)
def test_equals_brute_force(kind: Kind, seed: int, dim: int, k: int, share: float, own: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = kind(rng, dim)
    queries = rows[rng.integers(ROWS, size=3)] if own else spread(rng, dim)[:3]
    mask = rng.random(ROWS) < share
    segment = CertifiedBackend().build(rows)
    (scores, found), certificates = segment.certify(queries, k, None if share == 1 else mask)
    for i, query in enumerate(queries):
        kept = found[i] >= 0
        assert (found[i, kept].tolist(), scores[i, kept].tolist()) == brute(rows, query, k, mask | (share == 1))
        assert sum(certificates[i]) == (ROWS if share == 1 else np.count_nonzero(mask))


@settings(max_examples=300, deadline=None)
@given(
    backend=st.sampled_from([CertifiedBackend("dot"), ExactBackend("dot")]),
    kind=st.sampled_from(ANY),
    asked=st.sampled_from([None, *LENGTHS]),
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from([1, 3, 16, 64, 100]),
    k=st.sampled_from([1, 2, 10, 60]),
    share=st.sampled_from([1.0, 0.9, 0.4, 0.01]),
    batch=st.sampled_from([1, 3, 6]),
    few_rows=st.sampled_from([0, 1 << 12]),
)
def test_inner_products_equal_brute_force(
    backend: CertifiedBackend | ExactBackend,
    kind: Kind,
    asked: Kind | None,
    seed: int,
    dim: int,
    k: int,
    share: float,
    batch: int,
    few_rows: int,
) -> None:
    rng = np.random.default_rng(seed)
    rows = kind(rng, dim)
    queries = rows[rng.integers(ROWS, size=batch)] if asked is None else asked(rng, dim)[:batch]
    mask = None if share == 1 else rng.random(ROWS) < share
    with mock.patch.object(scan_module, "_FEW_ROWS", few_rows):
        (scores, found), certificates = backend.build(rows).certify(queries, k, mask)
    allowed = np.ones(ROWS, np.bool_) if mask is None else mask
    assert np.isfinite(scores[found >= 0]).all()
    for i, query in enumerate(queries):
        kept = found[i] >= 0
        assert (found[i, kept].tolist(), scores[i, kept].tolist()) == brute(rows, query, k, allowed)
        assert sum(certificates[i]) == np.count_nonzero(allowed)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(ANY), seed=st.integers(0, 2**32 - 1), dim=st.sampled_from([3, 64]))
def test_candidates_are_scored_as_brute_force_scores_them(kind: Kind, seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    rows, queries = kind(rng, dim), lognormal(rng, dim)[:3]
    candidates = np.sort(rng.permuted(np.tile(np.arange(ROWS), (3, 1)), axis=1)[:, :400])
    best = rescore_all(rows, queries, candidates, 10, max_norm_of(rows, "dot"))
    for query, own, scores, found in zip(queries, candidates, *best, strict=True):
        assert (found.tolist(), scores.tolist()) == brute(rows, query, 10, np.isin(np.arange(ROWS), own))


@pytest.mark.parametrize(("kind", "metric"), [*((kind, "cosine") for kind in KINDS), *((kind, "dot") for kind in ANY)])
@pytest.mark.parametrize("dim", [5, 64, 200])
def test_every_score_lies_within_its_bound(kind: Kind, metric: Metric, dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows = kind(rng, dim)
    codes = encode(rows, lambda: False, max_norm_of(rows, metric))
    for query in (rows[7], (spread if metric == "cosine" else of_all_lengths)(rng, dim)[0]):
        truth = np.vecdot(rows.astype(np.float64), query.astype(np.float64)).astype(np.float32)
        draft = codes.draft(query[None], 700)[0]
        assert (draft.lower <= truth[draft.rows]).all()
        assert (truth[draft.rows] <= draft.upper).all()
        unseen = np.setdiff1d(np.arange(ROWS), np.union1d(draft.rows, codes.outliers))
        assert (truth[unseen] < draft.rest_bound).all()


def test_most_rows_are_ruled_out_unread() -> None:
    rows, queries = unit_rows(20_000, 128), unit_rows(5, 128, seed=1)
    _, certificates = CertifiedBackend().build(rows).certify(queries, 10, None)
    assert max(certificate.rows_verified for certificate in certificates) < 400
    assert {sum(certificate) for certificate in certificates} == {20_000}


@pytest.mark.parametrize("scale", [1e-15, 1, 1e16])
def test_most_rows_of_any_length_are_ruled_out_unread(scale: float) -> None:
    rows, queries = (rows_of("dot", count, 128, seed) * np.float32(scale) for count, seed in ((20_000, 0), (5, 1)))
    _, certificates = CertifiedBackend("dot").build(rows).certify(queries, 10, None)
    assert max(certificate.rows_verified for certificate in certificates) < 600
    assert {sum(certificate) for certificate in certificates} == {20_000}


def test_ties_beyond_every_draft_end_in_a_scan_of_all() -> None:
    rows = np.repeat(unit_rows(1, 32), 4000, axis=0)
    (_, found), certificates = CertifiedBackend().build(rows).certify(rows[:1], 10, None)
    assert found[0].tolist() == list(range(10))
    assert certificates == [(0, 4000)]


def test_a_few_loose_rows_are_verified_each_time_and_loosen_no_bound() -> None:
    rows = outliers(np.random.default_rng(0), 64)
    codes = encode(np.concatenate([rows, rows]), lambda: False)
    assert codes.error <= 2 * float(np.median(codes.errors))


def test_encoding_can_be_cancelled() -> None:
    with pytest.raises(BuildCancelled):
        CertifiedBackend().build(unit_rows(10, 4), lambda: True)
