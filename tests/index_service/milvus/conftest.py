"""One real Milvus for all tests here, and the service over it: replicas that share nothing but Milvus."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.lib.milvus_server import MilvusServer, milvus_is_installed
from clip_core.errors import ClipServeError
from index_service.collection.registry import Registry
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.catalogue.connect import shared_store
from index_service.record.store import Store
from index_service.settings import IndexSettings
from scripts.public_api import PublicApi

QUICK = {  # clocks and checks that a test would else wait for
    "proxy.timeTickInterval": 20,
    "queryCoord.checkInterval": 50,
    "queryCoord.distPullInterval": 50,
    "queryNode.stats.publishInterval": 100,
}


def over(server: MilvusServer) -> dict[str, Any]:
    """Settings: new collections go to this Milvus, under a prefix of their own."""
    prefix = "".join(random.choices(string.ascii_lowercase, k=12))
    return {"store": "milvus", "milvus_uri": server.uri, "milvus_prefix": prefix, "milvus_watermark_delay_s": 0}


def needs_milvus() -> None:
    if not milvus_is_installed():
        pytest.skip("the package milvus is for Linux on x86-64")


def empty(api: PublicApi) -> None:
    """Milvus outlives the service over it."""
    for alias in api.call("GET", "/aliases")["aliases"]:
        api.call("DELETE", f"/aliases/{alias['name']}")
    for collection in api.call("GET", "/collections")["collections"]:
        api.call("DELETE", f"/collections/{collection['name']}")


def drop_all(store: MilvusCatalogue) -> None:
    for alias in store.aliases():
        store.drop_alias(alias)
    for collection in store.all():
        store.drop(collection.info.name)


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    needs_milvus()
    with MilvusServer(tmp_path_factory.mktemp("milvus"), QUICK) as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, milvus_server: MilvusServer) -> IndexSettings:
    """As those of the embedded store's tests, over Milvus."""
    limits = {"max_body_bytes": 200_000, "max_searches": 20, "max_batch": 50, "merge_min_rows": 8}
    return IndexSettings(data_dir=tmp_path, **limits, **over(milvus_server))


@pytest.fixture
def catalogue(settings: IndexSettings) -> Iterator[MilvusCatalogue]:
    store = shared_store(settings)
    assert store is not None
    yield store
    with suppress(ClipServeError):  # the server of a test that ended it
        store.look()
        drop_all(store)
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
