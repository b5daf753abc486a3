"""The embedded store's tests of writes that are held back, asked of collections in Milvus."""

# ruff: noqa: F401

from __future__ import annotations

import pytest

from tests.index_service.test_write_holds import (
    client,
    test_a_held_write_goes_to_where_its_name_leads_afterwards,
    test_it_begins_when_the_writes_under_way_have_ended,
    test_it_ends_by_itself,
    test_neither_a_write_nor_the_hold_waits_for_long,
    test_nobody_else_holds_them_meanwhile,
    test_what_can_not_be_held,
)

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.full]
