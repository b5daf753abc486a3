"""A record in a temporary folder, and the app over it without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from index_service.collection.registry import Registry
from index_service.record.store import Store
from index_service.settings import IndexSettings
from tests.index_service.helpers import http_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "index.sqlite3")
    yield store
    store.close()


@pytest.fixture
def settings(tmp_path: Path) -> IndexSettings:
    return IndexSettings(data_dir=tmp_path, max_body_bytes=200_000, max_searches=20, max_batch=50, merge_min_rows=8)


@pytest.fixture
def registry(store: Store, settings: IndexSettings) -> Registry:
    registry = Registry(store, settings)
    registry.load()
    return registry


@pytest.fixture
async def client(settings: IndexSettings, registry: Registry) -> AsyncIterator[httpx.AsyncClient]:
    async with http_of(settings, registry) as client:
        yield client
