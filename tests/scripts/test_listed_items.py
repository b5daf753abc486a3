"""Two listings by id compared as they are read, and a sample of one: neither is ever held whole."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from scripts.collections.listed_items import PAGE, delete_what_is_gone, only_in, sampled

IDS = st.sets(st.text(alphabet="ab\u00e9\uffff\U0001f600", max_size=3))


@given(IDS, IDS)
def test_what_is_only_in_one_listing(one: set[str], other: set[str]) -> None:
    assert set(only_in(sorted(one), sorted(other))) == one - other


def test_a_sample_is_fair_and_whole_where_there_are_few() -> None:
    assert sampled("ab", 3) == ["a", "b"]
    seen = Counter(id_ for _ in range(2000) for id_ in sampled("abcdefgh", 2))
    assert sum(seen.values()) == 4000
    assert all(380 < count < 620 for count in seen.values())


class TwoCollections:
    """Stands where `PublicApi` stands."""

    def __init__(self, **ids: set[str]) -> None:
        self.ids, self.deleted = ids, list[int]()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        name, query = urlsplit(path).path.split("/")[2], parse_qs(urlsplit(path).query, keep_blank_values=True)
        if method == "POST":
            self.deleted.append(len(body["ids"]))
            self.ids[name] -= set(body["ids"])
            return {}
        behind = (id_ for id_ in sorted(self.ids[name]) if id_ > query["after"][0])
        page = list(islice(behind, int(query["limit"][0])))
        return {"items": [{"id": id_} for id_ in page], "next": page[-1] if len(page) == PAGE else None}


def test_what_is_gone_is_deleted_page_by_page_while_it_is_listed() -> None:
    every = {f"i{n:05}" for n in range(5 * PAGE)}
    gone = set(sorted(every)[PAGE // 2 : 3 * PAGE])
    api = TwoCollections(old=every - gone, new=set(every))
    delete_what_is_gone(api, "/collections/old", "/collections/new")
    assert api.ids["new"] == every - gone
    assert api.deleted == [PAGE, PAGE, PAGE // 2]
