"""A listing under a filter: by id, page by page, the same whichever way it is walked."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import httpx
import pytest

from clip_core.wire import encode_vector
from index_service.answers.listing import Listing
from index_service.collection.collection import Collection
from index_service.collection.patches import ItemPatch, PatchBatch
from index_service.collection.registry import Registry
from index_service.record.store import CollectionInfo, Store
from tests.index_service.helpers import item, unit_rows

DIM, N = 4, 400
ROWS = unit_rows(N, DIM)
IDS = sorted(f"i{n * 7919 % 1000}é{n}" for n in range(N))


@pytest.fixture
def collection(registry: Registry) -> Collection:
    """Items that were not written in the order of their ids, a third of them after a merge."""
    made, _ = registry.create(CollectionInfo("c", "m", "f", DIM))
    order = sorted(range(N), key=lambda n: n * 7919 % N)
    for part in (order[:250], order[250:]):
        made.upsert([item(IDS[n], ROWS[n], {"n": n, "even": n % 2 == 0}) for n in part], ROWS[part])
        if len(part) == 250:
            made.merge()
    return made


def listed(collection: Collection, where: dict[str, Any], page: int) -> list[str]:
    """All pages together."""
    found: list[str] = []
    while True:
        some = list(islice(collection.matches(json.dumps(where).encode(), found[-1] if found else "", page), page))
        for match in some:
            assert IDS[json.loads(match.metadata)["n"]] == match.id
        if not some:
            return found
        found += [match.id for match in some]


@pytest.mark.parametrize("page", [1, 7, 100, 1000])
@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ({"even": True}, range(0, N, 2)),
        ({"n": {"$lt": 3}}, range(3)),
        ({"n": {"$gte": 0}}, range(N)),
        ({"n": -1}, range(0)),
    ],
)
def test_pages_under_a_filter(
    collection: Collection, page: int, where: dict[str, Any], chosen: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_service.answers.listing._LEAST_STEP", 16)
    assert listed(collection, where, page) == [IDS[n] for n in chosen]


@pytest.mark.parametrize("where", [b'{"even":true}', b'{"n":{"$lt":9}}'])
def test_deleted_and_changed_items(collection: Collection, where: bytes) -> None:
    collection.delete([IDS[0], IDS[4]])
    collection.patch(PatchBatch([ItemPatch(IDS[1], {"even": True, "n": 1}), ItemPatch(IDS[2], {"even": 0})], None, 999))
    numbers = [n for n in range(N) if n not in (0, 4)]
    chosen = [n for n in numbers if (n % 2 == 0 or n == 1) and n != 2] if b"even" in where else [*range(9)]
    found = [match.id for match in collection.matches(where, "", 10)]
    assert found == [IDS[n] for n in chosen if n in numbers]


def test_rows_that_a_merge_drops_meanwhile_are_read_again(collection: Collection, store: Store) -> None:
    reads: list[str] = []

    def entries(after: str, most: int) -> list[tuple[str, int]]:
        found = store.entries(collection.info.key, after, most)
        if not reads:  # after it is read, an item is changed, and its old row is dropped
            collection.patch(PatchBatch([ItemPatch(IDS[3], {"more": 1})], None, 999))
            collection.merge()
        reads.append(after)
        return found

    matches = list(Listing(lambda _: collection.view, entries).matches(b'{"n":{"$gte":0}}', "", 10))
    assert [match.id for match in matches] == IDS
    assert json.loads(matches[3].metadata)["more"] == 1
    assert reads[:2] == ["", ""]


async def test_over_http(client: httpx.AsyncClient) -> None:
    await client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": DIM})
    items = [{"id": f"i{n:02}", "vector": encode_vector(ROWS[n]), "metadata": {"n": n}} for n in range(20)]
    await client.post("/collections/c/items", json={"items": items})
    asked = {"filter": '{"n": {"$gte": 5}}', "limit": 10}
    first = (await client.get("/collections/c/items", params=asked)).json()
    assert [each["id"] for each in first["items"]] == [f"i{n:02}" for n in range(5, 15)]
    assert first["items"][0]["metadata"] == {"n": 5}
    second = (await client.get("/collections/c/items", params={**asked, "after": first["next"]})).json()
    assert ([each["id"] for each in second["items"]], second["next"]) == ([f"i{n:02}" for n in range(15, 20)], None)
    everything = (await client.get("/collections/c/items", params={"filter": "{}", "limit": 50})).json()
    assert len(everything["items"]) == 20


@pytest.mark.parametrize("filter_", ["", "{", "[]", "5", '{"$x": 1}'])
async def test_bad_filters(client: httpx.AsyncClient, filter_: str) -> None:
    await client.put("/collections/c", json={"model": "m", "fingerprint": "f", "dim": DIM})
    answer = await client.get("/collections/c/items", params={"filter": filter_})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "filter")
    answer = await client.get("/collections/c/items", params={"filter": "{}", "since": 0})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "filter")
