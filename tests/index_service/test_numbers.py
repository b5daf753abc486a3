"""Numbers in metadata and filters: exact, or refused."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.errors import BadFilter, BadInput
from clip_core.wire import encode_vector
from index_service.collection.bodies import metadata_json, parse_body, where
from index_service.metadata.filters import compile_filter
from index_service.record.store import Store
from tests.index_service.helpers import unit_rows
from tests.index_service.test_limits import serving

WIDE = st.integers(-(2**65), 2**65) | st.sampled_from([2**53, 2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1])


@given(WIDE, WIDE)
@settings(max_examples=300)
def test_a_filter_tells_all_whole_numbers_of_64_bits_apart(stored: int, asked: int) -> None:
    body = parse_body(
        json.dumps({"metadata": {"n": stored}, "filter": {"n": {"$in": [asked]}}}).encode(), ("metadata", "filter")
    )
    fits = [-(2**63) <= number < 2**64 for number in (stored, asked)]
    if not fits[0]:
        with pytest.raises(BadInput, match="outside -2"):
            metadata_json(body["metadata"], 1000)
    if not fits[1]:
        with pytest.raises(BadFilter, match="outside -2"):
            where(body["filter"])
    if not all(fits):
        return
    text, asks = metadata_json(body["metadata"], 1000), where(body["filter"])
    assert asks is not None
    assert compile_filter(asks)(json.loads(text)) is (stored == asked)


async def test_one_item_with_such_a_number_leaves_its_neighbours_alone(store: Store) -> None:
    vector = encode_vector(unit_rows(1, 4)[0])
    bodies = [f'{{"id":"i{n}","vector":"{vector}","metadata":{{"n":{n}}}}}' for n in (2**64 - 1, 2**64)]
    async with serving(store) as client:
        answer: httpx.Response = await client.post("/collections/c/items", content=f'{{"items":[{",".join(bodies)}]}}')
        assert [result["status"] for result in answer.json()["results"]] == [200, 400]
        listed = (await client.get("/collections/c/items")).json()["items"]
        assert listed == [{"id": f"i{2**64 - 1}", "metadata": {"n": 2**64 - 1}}]
        search = f'{{"collection":"c","vector":"{vector}","filter":{{"n":{2**64}}}}}'
        result = (await client.post("/search", content=f'{{"searches":[{search}]}}')).json()["results"][0]
        assert (result["status"], result["error"]["code"]) == (400, "invalid_filter")
