"""Ids of any form the index service takes, in the path of a call."""

from __future__ import annotations

import http.client
from urllib.parse import quote

import pytest

IDS = [
    "a/b",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    "...",
    "%2e%2e",
    "a?b#c",
    "a b",
    "a\u2028b",
    "für",
    "stream",
    "é" * 512,
]


@pytest.mark.parametrize("item_id", IDS)
def test_an_item_is_shown_changed_and_deleted_by_its_id(stack, item_id):
    stack.fill("cat", item_id)
    path = f"/v1/collections/demo/items/{quote(item_id, safe='')}"
    assert stack.client.get(path).json()["id"] == item_id
    assert stack.client.patch(path, json={"metadata": {"word": None}}).json() == {"id": item_id, "metadata": {}}
    assert stack.client.delete(path).json() == {"deleted": True}
    assert set(stack.index.collections["demo"]["items"]) == {"cat"}


@pytest.mark.parametrize("raw", ["..", "%2e%2e", ".", "%2E", "", "..%2F..%2Faliases", "..%2Fitems", "a%0Ab", "%00"])
def test_no_id_leads_elsewhere(stack, raw):
    """Not to the collection itself either."""
    stack.fill("cat")
    connection = http.client.HTTPConnection(stack.url.removeprefix("http://"), timeout=10)
    connection.request("DELETE", f"/v1/collections/demo/items/{raw}")  # httpx would follow the dots itself
    assert connection.getresponse().status == 404
    connection.close()
    assert set(stack.index.collections["demo"]["items"]) == {"cat"}
