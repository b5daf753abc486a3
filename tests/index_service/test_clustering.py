"""Centroids in two stages, against FAISS's own."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from index_service.engines.faiss.clustering import centroids, place_lists, shared_out

DIM, CLUSTERS = 32, 400


def clustered(rows: int) -> NDArray[np.float32]:
    """Unit vectors around as many directions as there are lists."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, DIM), np.float32)
    vectors = centres[rng.integers(CLUSTERS, size=rows)] + 0.3 * rng.standard_normal((rows, DIM), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(any), st.data())
def test_lists_are_shared_out_by_size(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, sum(sizes)))
    shares = shared_out(count, np.array(sizes))
    assert shares.sum() == count
    assert (shares <= sizes).all()
    assert (np.abs(shares - np.array(sizes) * (count / sum(sizes))) < 1 + 1e-9).all()


def test_rows_lie_nearer_to_their_lists_than_to_those_that_faiss_finds() -> None:
    rows = clustered(20_000)
    ours, theirs = faiss.IndexFlatIP(DIM), faiss.IndexFlatIP(DIM)
    ours.add(centroids(rows, CLUSTERS, spherical=True))
    by_itself = faiss.Kmeans(DIM, CLUSTERS, niter=10, spherical=True)
    by_itself.train(rows)
    theirs.add(by_itself.centroids)
    (near, own), (far, _) = (index.search(rows, 1) for index in (ours, theirs))
    assert ours.ntotal == CLUSTERS
    assert near.mean() > far.mean()
    assert len(np.unique(own)) == CLUSTERS


@pytest.mark.parametrize(
    ("factory", "placed"),
    [("IVF400,Flat", 400), ("IVF64,Flat", 0), ("IVF400_HNSW32,Flat", 0), ("RR32,IVF400,Flat", 0), ("Flat", 0)],
)
def test_what_has_few_lists_or_others_than_flat_ones_is_left_to_faiss(factory: str, placed: int) -> None:
    rows = clustered(16_000)
    index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
    place_lists(index, rows)
    ivf = faiss.try_extract_index_ivf(index)
    assert (0 if ivf is None else ivf.quantizer.ntotal) == placed
    index.train(rows)
    index.add(rows)
    if ivf is not None:
        ivf.nprobe = 400
    assert index.search(rows[:50], 1)[1][:, 0].tolist() == list(range(50))


def test_few_rows_a_list_and_equal_rows_are_no_trouble() -> None:
    rows = np.repeat(clustered(300), 2, axis=0)
    assert centroids(rows, 600, spherical=False).shape == (600, DIM)
    assert np.isfinite(centroids(np.ones((5000, DIM), np.float32), 256, spherical=True)).all()
