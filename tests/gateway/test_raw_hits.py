"""Hits pass as JSON texts: whatever a neighbour of another release writes, the caller gets the same values."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.inputs.paging import Page
from gateway.upstream.replies import encode_reply, search_reply

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
hits = st.lists(
    st.fixed_dictionaries(
        {
            "id": texts,
            "score": st.floats(-2, 2) | st.integers(-1, 1),
            "metadata": st.dictionaries(texts, values, max_size=3),
        }
    ),
    max_size=6,
)


def pretty(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def raw(value: list[Any], write: Any = orjson.dumps) -> list[msgspec.Raw]:
    reply = encode_reply(write({"data": [{"status": 200, "hits": value}]}))
    assert reply is not None
    return reply["data"][0]["hits"]


def cut(page: Page, given_hits: list[msgspec.Raw]) -> Any:
    return json.loads(orjson.dumps(page.cut(given_hits)[0]))


@given(hits, st.sampled_from([orjson.dumps, pretty]), st.integers(1, 7), st.integers(0, 7))
@settings(deadline=None)
def test_a_page_is_a_slice(found: list[Any], write: Any, k: int, offset: int) -> None:
    assert cut(Page(k, offset), raw(found, write)) == found[offset : offset + k]


@given(hits, st.floats(-2, 2), st.integers(0, 3))
@settings(deadline=None)
def test_a_least_score_and_ids_left_out(found: list[Any], least: float, gone: int) -> None:
    left_out = frozenset(hit["id"] for hit in found[:gone])
    kept = [hit for hit in found if hit["score"] >= least and hit["id"] not in left_out]
    assert cut(Page(10, min_score=least, left_out=left_out), raw(found)) == kept


@given(hits, st.lists(texts, min_size=1, max_size=3))
@settings(deadline=None)
def test_fields_keep_their_values(found: list[Any], extra: list[str]) -> None:
    fields = (*extra, *(name for hit in found[:2] for name in hit["metadata"]))
    projected = [{**hit, "metadata": {n: hit["metadata"][n] for n in fields if n in hit["metadata"]}} for hit in found]
    assert cut(Page(10, fields=fields), raw(found, pretty)) == projected


def test_numbers_and_fields_that_this_release_does_not_know_pass_as_they_are() -> None:
    text = b'[{"id": "a", "score": 0.10000000000000000555, "rank": {"of": 1e2}}]'
    reply = search_reply(b'{"results": [{"status": 200, "hits": %b, "news": 1}], "more": []}' % text)
    assert reply is not None
    page, cursor = Page(5).cut(reply["results"][0]["hits"])
    assert (orjson.dumps(page), cursor) == (text, None)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"[]", b"{}", b'{"data": 5}', b'{"data": [{"status": 200, "hits": [}]}']
)
def test_what_is_no_answer(content: bytes) -> None:
    assert encode_reply(content) is None
    assert search_reply(content) is None


def test_hits_without_a_least_score_are_not_looked_into() -> None:
    page, _ = Page(2, min_score=-math.inf).cut(raw([1, 2, 3]))
    assert orjson.dumps(page) == b"[1,2]"
