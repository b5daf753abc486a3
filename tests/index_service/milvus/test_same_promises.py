"""What the embedded store's tests ask over HTTP, asked of collections in Milvus: the same tests, another store.

Left out are tests of what only the embedded store has: views, merges, engines, the record on disk, and estimates of
sizes. docs/milvus.md names each promise that differs.
"""

# ruff: noqa: F401

from __future__ import annotations

import httpx
import pytest

from tests.index_service.test_aliases import (
    test_a_bad_source_is_the_items_error,
    test_after_a_switch_each_model_finds_its_own_collection,
    test_an_alias_serves_as_the_name_of_its_collection,
    test_an_item_remembers_its_source,
    test_items_are_followed_in_the_order_of_writing,
    test_names_mean_one_thing,
)
from tests.index_service.test_app import (
    test_a_bad_description_names_the_field,
    test_a_bad_item_never_stops_its_neighbours,
    test_a_bad_name_is_refused,
    test_a_certified_search_says_what_was_bounded_and_what_verified,
    test_a_collection_is_never_changed,
    test_a_search_of_another_fingerprint_is_409_and_an_own_vector_is_not,
    test_an_upsert_of_another_fingerprint_is_refused_whole,
    test_hits_are_the_nearest_by_cosine,
    test_include_chooses_what_a_hit_holds,
    test_items_are_deleted_by_ids_and_by_filter,
    test_items_are_listed_page_by_page,
    test_items_are_read_and_deleted_by_id,
    test_large_calls_run_in_threads_with_the_same_answers,
    test_nothing_is_deleted_without_saying_what,
    test_request_ids_come_back_and_are_logged,
    test_search_bodies_of_the_wrong_shape,
    test_searches_of_one_call_are_answered_each_by_itself,
    test_the_last_of_equal_ids_wins,
    test_what_is_not_there,
)
from tests.index_service.test_copies import (
    filled,
    test_bad_calls,
    test_collections_that_differ,
    test_items_by_their_ids,
    test_what_a_filter_names,
)
from tests.index_service.test_dot_products import (
    test_a_collection_says_its_metric_and_keeps_it,
    test_a_vector_that_is_too_long_stops_no_other,
    test_vectors_come_back_bit_for_bit,
)
from tests.index_service.test_dot_products import test_hits_are_the_largest_inner_products as inner_products
from tests.index_service.test_facets import (
    test_an_empty_collection_has_none,
    test_bad_requests,
    test_fields_whose_values_repeat_are_found_and_counted,
    test_named_fields_filters_and_bounds,
    test_numbers_beyond_64_bits_are_values_too,
)
from tests.index_service.test_listing import test_bad_filters, test_over_http

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.full]


@pytest.mark.parametrize("exact", [True, "certified"])
async def test_exact_hits_are_the_largest_inner_products(client: httpx.AsyncClient, exact: bool | str) -> None:
    """Of other searches Milvus sums the scores, in float32."""
    await inner_products(client, exact)
