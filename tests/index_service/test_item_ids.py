"""Ids that could be written, and then neither shown nor deleted by their path."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from clip_core.errors import BadInput
from index_service.collection.bodies import item_id, new_item_id
from tests.index_service.test_app import body, fill, upsert


@pytest.mark.parametrize("id_", ["a\nb", "\n", "a\x00", "a\x7f", "a\x85", "\t", ".", "..", "", "x" * 513, 5, None])
def test_refused(id_: object) -> None:
    with pytest.raises(BadInput, match="an id is"):
        new_item_id(id_)


@pytest.mark.parametrize("id_", ["a/b", "/a", "../a", "...", "%2e", "a b", "\u2028", "für", "\U0001f408", "x" * 512])
def test_taken(id_: str) -> None:
    assert new_item_id(id_) == id_


async def test_one_refused_id_stops_no_other(client: httpx.AsyncClient) -> None:
    await fill(client, count=1)
    items: list[dict[str, Any]] = [{**body(1), "id": "a\nb"}, {**body(2), "id": "a b"}]
    results = (await upsert(client, items)).json()["results"]
    assert [result["status"] for result in results] == [400, 200]


def test_what_an_earlier_version_took_can_be_deleted_by_the_list() -> None:
    assert item_id("a\nb") == "a\nb"
