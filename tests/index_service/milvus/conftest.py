"""One real Milvus for all tests here, and the service over it: replicas that share nothing but Milvus."""

from __future__ import annotations

import random
import string
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.lib.milvus_server import MilvusServer, milvus_is_installed
from clip_core.errors import ClipServeError
from index_service.collection.registry import Registry
from index_service.http.app import create_app
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.catalogue.connect import shared_store
from index_service.record.store import Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import JSON

QUICK = {  # clocks and checks that a test would else wait for
    "proxy.timeTickInterval": 20,
    "queryCoord.checkInterval": 50,
    "queryCoord.distPullInterval": 50,
    "queryNode.stats.publishInterval": 100,
}


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    if not milvus_is_installed():
        pytest.skip("the package milvus is for Linux on x86-64")
    with MilvusServer(tmp_path_factory.mktemp("milvus"), QUICK) as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, milvus_server: MilvusServer) -> IndexSettings:
    """As those of the embedded store's tests, and new collections go to Milvus, under a prefix of their own."""
    return IndexSettings(
        data_dir=tmp_path,
        max_body_bytes=200_000,
        max_searches=20,
        max_batch=50,
        merge_min_rows=8,
        store="milvus",
        milvus_uri=milvus_server.uri,
        milvus_prefix="".join(random.choices(string.ascii_lowercase, k=12)),
        milvus_watermark_delay_s=0,
    )


@pytest.fixture
def catalogue(settings: IndexSettings) -> Iterator[MilvusCatalogue]:
    store = shared_store(settings)
    assert store is not None
    yield store
    try:
        store.look()
        for alias in store.aliases():
            store.drop_alias(alias)
        for collection in store.all():
            store.drop(collection.info.name)
    except ClipServeError:  # the server of a test that ended it
        pass
    store.close()


@pytest.fixture
def registry(store: Store, settings: IndexSettings, catalogue: MilvusCatalogue) -> Registry:
    registry = Registry(store, settings, catalogue)
    registry.load()
    return registry


@pytest.fixture
def replica(tmp_path: Path, settings: IndexSettings) -> Iterator[Callable[[], Registry]]:
    """Makes further replicas."""
    made: list[tuple[Store, MilvusCatalogue]] = []

    def make() -> Registry:
        folder = tmp_path / f"replica{len(made)}"
        folder.mkdir()
        shared = shared_store(settings)
        assert shared is not None
        made.append((Store(folder / "index.sqlite3"), shared))
        registry = Registry(*(made[-1][0], settings.model_copy(update={"data_dir": folder}), shared))
        registry.load()
        return registry

    yield make
    for record, shared in made:
        shared.close()
        record.close()


def http_of(settings: IndexSettings, registry: Registry) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(settings, registry))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=JSON, timeout=60)


@pytest.fixture
async def client(settings: IndexSettings, registry: Registry) -> AsyncIterator[httpx.AsyncClient]:
    async with http_of(settings, registry) as client:
        yield client
