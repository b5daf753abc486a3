"""Factory strings: those that work are taken, all others are refused before anything large is built."""

from __future__ import annotations

import resource

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_service.engines.faiss import backend as faiss_backend
from index_service.engines.faiss.backend import FaissBackend, refusal
from index_service.engines.faiss.factories import plan_of
from index_service.record.store import CollectionInfo
from index_service.segments.engine_choice import Engines, auto_factory
from index_service.settings import IndexSettings
from tests.index_service.helpers import unit_rows

MODEL = {"model": "m", "fingerprint": "f", "dim": 512, "engine": "faiss"}
LARGE = [
    ("PQ512x20", "20 bits"),
    ("PQ512x22", "22 bits"),
    ("IVF16,PQ256x16", "16 bits"),
    ("PQ64x12", "MB"),
    ("HNSW32,PQ64x12", "MB"),
    ("HNSW32_PQ64x12", "MB"),
    ("OPQ64_512,IVF16,PQ64x13", "13 bits"),
    ("RR999999999,SQ8", "999999999 dimensions"),
    ("Pad1000000,Flat", "1000000 dimensions"),
    ("PCA100000,Flat", "100000 dimensions"),
    ("HNSW100000", "100000 links"),
    ("IVF64_HNSW9999,Flat", "9999 links"),
    ("IVF2M,SQ8", "2097152 inverted lists"),
    ("IVF0,Flat", "0 inverted lists"),
    ("RaBitQfs_999999999", "blocks"),
    ("PQ64x4fs_999999999", "blocks"),
    ("IVF99999999999999999999,Flat", "it takes"),
    ("RQ64x20", "it takes"),
    ("LSQ8x8", "it takes"),
    ("PRQ2x4x20", "it takes"),
    ("PLSQ2x4x20", "it takes"),
    ("IVF64,RQ8x8", "it takes"),
    ("Residual2x20,Flat", "it takes"),
    ("IMI2x12,Flat", "it takes"),
    ("NSG64,Flat", "it takes"),
    ("ZnLattice64x99_9", "it takes"),
    ("LSH99999999", "it takes"),
    ("IVF16(IVF16(IVF16,Flat),Flat),Flat", "it takes"),
    ("IVF16,Refine(PQ512x20),PQ512x20", "it takes"),
    ("IDMap,Flat", "it takes"),
    ("SQ8_direct", "it takes"),
    ("SQ8_direct_signed", "it takes"),
    ("IVF16,SQ8_direct", "it takes"),
    ("HNSW32_SQ8_direct", "it takes"),
    ("IVF16", "no code"),
    ("PQ512x20" + ",RFlat" * 30, "20 bits"),
]


@pytest.mark.parametrize(("factory", "says"), LARGE)
async def test_what_is_too_large_or_unknown_is_refused_and_told(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, factory: str, says: str
) -> None:
    monkeypatch.setattr(faiss_backend._faiss, "index_factory", lambda *_: pytest.fail("it was built"))
    answer = await client.put("/collections/c", json={**MODEL, "factory": factory})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "factory")
    assert says in error["message"]


@pytest.mark.parametrize("kind", ["OPQ64,IVF16,PQ64", "ITQ,SQ8"])
def test_training_is_bounded_by_the_dimension(kind: str) -> None:
    assert plan_of(kind, 512).rows
    with pytest.raises(ValueError, match="multiplications"):
        plan_of(kind, 8192)


def test_a_verdict_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal("IVF31,SQ8", 24) is None
    assert refusal("IVF31,PQ7", 24) is not None
    monkeypatch.setattr(faiss_backend._faiss, "index_factory", lambda *_: pytest.fail("it was built again"))
    assert refusal("IVF31,SQ8", 24) is None
    assert refusal("IVF31,PQ7", 24) is not None


def test_choosing_an_engine_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_backend._faiss, "index_factory", lambda *_: pytest.fail("it was built"))
    info = CollectionInfo("c", "m", "f", 32, engine="faiss:IVF37,PQ8x4fs")
    assert [Engines(IndexSettings()).choose(info, rows).engine for rows in (1000, 100_000)] == ["exact", "faiss"]


def test_an_older_record_with_a_factory_that_is_not_taken_is_searched_exactly() -> None:
    info = CollectionInfo("c", "m", "f", 512, engine="faiss:PQ512x20")
    assert Engines(IndexSettings()).choose(info, 10**9).engine == "exact"


@pytest.mark.parametrize("dim", [1, 2, 3, 512, 1024, 4096, 8192])
def test_what_auto_chooses_is_always_taken(dim: int) -> None:
    for rows in (1, 50_001, 10**6, 10**8, 10**10):
        plan_of(auto_factory(rows, dim), dim)


@pytest.mark.parametrize(
    "factory", ["PCA8,IVF8,SQfp16,RFlat", "HNSW8_SQ8", "IVF8_HNSW4,Flat", "L2norm,RR16,RaBitQfs", "PCAR8,PQ4x4fs_64"]
)
def test_what_is_taken_can_be_built(factory: str) -> None:
    assert refusal(factory, 16) is None
    assert FaissBackend(factory, threads=1, ef_construction=20).build(unit_rows(1000, 16)).engine == "faiss"


NUMBERS = st.one_of(st.integers(0, 40), st.integers(0, 2**70)).map(str)
PARTS = st.lists(
    st.one_of(
        st.sampled_from(["PCA", "OPQ", "RR", "ITQ", "Pad", "IVF", "HNSW", "PQ", "RaBitQ", "SQ", "RQ", "LSQ", "IMI2x"]),
        st.sampled_from(
            ["x", "_", ",", "x4fs", "fs", "k", "M", "(", ")", "Flat", "Refine(", ",RFlat", ",Flat", ",SQ8"]
        ),
        NUMBERS,
    ),
    max_size=8,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(PARTS, st.sampled_from([1, 16, 64]))
def test_no_string_takes_much_memory(factory: str, dim: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(factory, dim)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # KiB
