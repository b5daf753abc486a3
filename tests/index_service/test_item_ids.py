"""Ids that could be written, and then neither shown nor deleted by their path."""

from __future__ import annotations

import pytest

from clip_core.errors import BadInput
from index_service.collection.bodies import item_id, new_item_id


@pytest.mark.parametrize("id_", ["a\nb", "\n", "a\x00", "a\x7f", "a\x85", "\t", ".", "..", "", "x" * 513, 5, None])
def test_refused(id_: object) -> None:
    with pytest.raises(BadInput, match="an id is"):
        new_item_id(id_)


@pytest.mark.parametrize("id_", ["a/b", "/a", "../a", "...", "%2e", "a b", "\u2028", "für", "\U0001f408", "x" * 512])
def test_taken(id_: str) -> None:
    assert new_item_id(id_) == id_


def test_what_an_earlier_version_took_can_be_deleted_by_the_list() -> None:
    assert item_id("a\nb") == "a\nb"
