"""The embedded store's tests of duplicates over HTTP, asked of collections in Milvus."""

# ruff: noqa: F401

from __future__ import annotations

import pytest

from tests.index_service.test_duplicates import (
    filled,
    test_bad_queries,
    test_digests_are_no_facet_unless_asked_for,
    test_every_page_leads_to_the_next,
    test_items_of_the_same_picture,
    test_page_by_page,
)

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.full]
