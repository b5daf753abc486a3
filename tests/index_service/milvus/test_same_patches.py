"""The embedded store's tests of patches over HTTP, asked of collections in Milvus."""

# ruff: noqa: F401

from __future__ import annotations

import pytest

from tests.index_service.test_patches import (
    filled,
    test_a_patch_that_changes_nothing_writes_nothing,
    test_a_snapshot_has_what_was_patched,
    test_an_item_has_other_metadata_and_the_rest_as_it_was,
    test_an_item_that_is_not_there,
    test_bad_calls,
    test_bad_patches_change_nothing,
    test_calls_at_once,
    test_fields_that_the_caller_holds_fixed,
    test_many_each_with_its_own_result,
    test_metadata_null_removes_all_of_it,
    test_of_a_page_too_those_that_fail_are_named,
    test_one_patch_for_many_ids,
    test_searches_filters_and_facets_see_it_at_once,
    test_too_many_for_one_call,
    test_what_a_filter_names_page_by_page,
)

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.full]
