"""`clipserve reindex`: its tests of the embedded store, asked of collections in Milvus."""

# ruff: noqa: F401

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.lib.milvus_server import MilvusServer
from scripts.public_api import PublicApi
from tests.index_service.helpers import Service
from tests.index_service.milvus.conftest import empty, over
from tests.scripts.test_reindex import (
    gateway,
    test_a_new_collection_that_was_deleted_is_filled_from_the_start,
    test_a_second_run_goes_on_where_the_first_one_stopped,
    test_an_alias_is_not_switched_to_a_collection_that_lacks_items,
    test_beside_a_constant_writer_it_ends_and_has_everything,
    test_no_search_fails_or_mixes_while_the_collection_is_replaced,
    test_what_is_newer_in_the_new_collection_is_not_overwritten,
)

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.full, pytest.mark.timeout(180)]


@pytest.fixture
def index(tmp_path: Path, milvus_server: MilvusServer) -> Iterator[PublicApi]:
    service = Service(tmp_path / "index", **over(milvus_server))
    api = PublicApi(service.url())
    yield api
    assert {each["store"] for each in api.call("GET", "/collections")["collections"]} == {"milvus"}
    empty(api)
    assert service.stop() == 0
