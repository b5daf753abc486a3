"""The embedded store's tests of limits, of odd bodies and of sizes of answers, asked of collections in Milvus."""

# ruff: noqa: F401

from __future__ import annotations

import random
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from benchmarks.lib.milvus_server import MilvusServer
from index_service.collection.registry import Registry
from index_service.milvus.catalogue.connect import shared_store
from index_service.record.store import Store
from index_service.settings import IndexSettings
from tests.index_service import test_answer_bytes, test_limits, test_numbers, test_unknown_fields
from tests.index_service.helpers import http_of
from tests.index_service.milvus.conftest import drop_all, over
from tests.index_service.test_answer_bytes import (
    test_a_listing_ends_early_and_goes_on_where_it_ended,
    test_long_values_of_facets_are_cut_to_fit,
    test_one_items_metadata_is_bounded_and_its_neighbours_get_in,
    test_the_search_that_does_not_fit_is_413_and_its_neighbours_are_answered,
    test_vectors_count_as_base64,
    test_what_a_caller_sent_is_not_sent_back_for_each_of_its_searches,
)
from tests.index_service.test_filter_limits import test_too_large_a_filter_is_refused_everywhere
from tests.index_service.test_limits import (
    test_k_has_a_limit_of_its_own,
    test_there_is_a_limit_to_aliases,
    test_too_much_at_once_is_429_with_retry_after,
    test_what_is_beyond_a_limit_is_refused,
)
from tests.index_service.test_numbers import test_one_item_with_such_a_number_leaves_its_neighbours_alone
from tests.index_service.test_unknown_fields import (
    served,
    test_query_parameters,
    test_unknown_fields_of_bodies,
    test_unknown_fields_of_one_search_or_item_spoil_nothing_else,
    test_what_is_known_is_taken,
)

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.full]


@pytest.fixture(autouse=True)
def _over_milvus(milvus_server: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def serving(store: Store, **limits: Any) -> AsyncIterator[httpx.AsyncClient]:
        settings = IndexSettings(data_dir=store.path.parent, **over(milvus_server), **limits)
        shared = shared_store(settings)
        assert shared is not None
        registry = Registry(store, settings, shared)
        registry.load()
        async with http_of(settings, registry) as client:
            assert (await client.put("/collections/c", json=test_limits.MODEL)).json()["store"] == "milvus"
            yield client
        drop_all(shared)
        shared.close()

    for module in (test_limits, test_answer_bytes, test_numbers, test_unknown_fields):
        monkeypatch.setattr(module, "serving", serving)
