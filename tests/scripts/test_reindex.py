"""`clipserve reindex` against a real index service; the gateway embeds by a rule instead of by a model."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console

from benchmarks.lib.repeating import repeating
from clip_core.errors import BadInput, Conflict, Unavailable
from clip_core.wire import FloatArray, encode_vector
from clipserve_client import Limits, NewItem, Result, Tally
from scripts.collections import reindex
from scripts.collections.reindex import Reindex, State
from scripts.collections.rounds import follow
from scripts.public_api import PublicApi
from tests.index_service.helpers import Service, unit_rows

DIM, COUNT = 8, 200
LONG = "n" * 300  # longer than a file's name may be
Json = dict[str, Any]


def embed(content: str) -> FloatArray:
    """The new model."""
    row: FloatArray = unit_rows(1, DIM, zlib.crc32(content.encode()))[0]
    return row


class Gateway:
    """What the gateway does with items, by `embed`; `before` is called before each batch with how many came already."""

    def __init__(self, index: PublicApi) -> None:
        self.index, self.embedded = index, list[str]()
        self.before: Callable[[int], None] = lambda _: None

    def create_collection(self, name: str, **settings: Any) -> Any:
        made = {**settings, "model": "n", "fingerprint": "f2", "dim": DIM}
        return self.index.call("PUT", f"/collections/{name}", made)

    def limits(self) -> Limits:
        return Limits()

    def ingest(self, collection: str, items: Iterable[NewItem | Result], *, on_result: Any) -> Tally:
        tally = Tally()
        for result in (self._added(collection, thing) for thing in items):
            tally.count(result)
            on_result(result)
        return tally

    def _added(self, collection: str, item: NewItem | Result) -> Result:
        if isinstance(item, Result):
            return item
        self.before(len(self.embedded))
        self.embedded.append(item.id)
        content = item.text or item.image.decode()  # type: ignore[union-attr]
        row = {"id": item.id, "vector": encode_vector(embed(content)), "metadata": item.metadata}
        self.index.call("POST", f"/collections/{collection}/items", {"fingerprint": "f2", "items": [row]})
        return Result(item.id, "added")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PublicApi]:
    service = Service(tmp_path / "index")
    try:
        yield PublicApi(service.url())
    finally:
        service.kill()


def write(index: PublicApi, numbers: range, collection: str = "old") -> None:
    items = [{"id": f"i/{n}", "vector": encode_vector(embed("")), "metadata": {"n": n}} for n in numbers]
    body = {"fingerprint": "f1", "items": [{**item, "source": {"text": item["id"]}} for item in items]}
    index.call("POST", f"/collections/{collection}/items", body)


@pytest.fixture
def gateway(index: PublicApi) -> Gateway:
    made = {"model": "m", "fingerprint": "f1", "dim": DIM, "engine": "exact", "metric": "dot"}
    index.call("PUT", "/collections/old", made)
    write(index, range(COUNT))
    index.call("PUT", "/aliases/live", {"collection": "old"})
    return Gateway(index)


def run(gateway: Gateway, path: Path, images: Path | None = None, kept: Any = lambda _: None) -> Reindex:
    work = Reindex(gateway, gateway.index, path, State.load(path, "old", "new"), images, kept)
    work.copy(Console(quiet=True))
    return work


def contents(index: PublicApi, collection: str) -> dict[str, Json]:
    items = index.call("GET", f"/collections/{collection}/items?since=0&limit=1000&include=vector")["items"]
    return {item["id"]: item for item in items}


def assert_same(index: PublicApi) -> None:
    for field in ("engine", "metric"):
        assert index.call("GET", "/collections/new")[field] == index.call("GET", "/collections/old")[field]
    old, new = contents(index, "old"), contents(index, "new")
    assert new.keys() == old.keys()
    for id_, item in new.items():
        assert (item["metadata"], item["vector"]) == (old[id_]["metadata"], encode_vector(embed(id_)))


def test_no_search_fails_or_mixes_while_the_collection_is_replaced(gateway: Gateway, tmp_path: Path) -> None:
    index, answers = gateway.index, list[tuple[str, Any]]()
    one = {"collection": "live", "vector": encode_vector(embed("i/7")), "k": 3}

    def search(client: httpx.Client) -> None:
        for fingerprint in ("f1", None):
            body = {"fingerprint": fingerprint, "searches": [one] * 3}
            answers.extend((str(fingerprint), result) for result in client.post("/search", json=body).json()["results"])

    def meanwhile(done: int) -> None:
        if 60 <= done < 60 + 32:
            write(index, range(COUNT, COUNT + 40))
            index.call("POST", "/collections/live/items/delete", {"ids": ["i/3", "i/150"]})

    gateway.before = meanwhile
    with httpx.Client(base_url=index.url) as client, repeating(partial(search, client)):
        work = run(gateway, tmp_path / "state.json")
        write(index, range(COUNT + 40, COUNT + 50))  # between the copy and the switch
        work.switch("live")
    assert work.state.failed == {}
    assert_same(index)
    assert index.call("GET", "/collections/live")["name"] == "new"
    assert {result["status"] for _, result in answers} == {200}
    assert {result["fingerprint"] for who, result in answers if who == "f1"} == {"f1"}
    assert "f1" in {result["fingerprint"] for who, result in answers if who == "None"}
    assert len(contents(index, "new")) == COUNT + 48


def test_a_second_run_goes_on_where_the_first_one_stopped(gateway: Gateway, tmp_path: Path) -> None:
    def fail(done: int) -> None:
        if done >= 96:
            raise Unavailable("TorchServe went away")

    gateway.before = fail
    with pytest.raises(Unavailable):
        run(gateway, tmp_path / "state.json")
    gateway.before = lambda _: None
    work = run(gateway, tmp_path / "state.json")
    work.switch("live")
    assert len(gateway.embedded) == COUNT
    assert_same(gateway.index)


def test_a_new_collection_that_was_deleted_is_filled_from_the_start(gateway: Gateway, tmp_path: Path) -> None:
    run(gateway, tmp_path / "state.json")
    gateway.index.call("DELETE", "/collections/new")
    run(gateway, tmp_path / "state.json").switch("live")
    assert_same(gateway.index)


def test_an_alias_is_not_switched_to_a_collection_that_lacks_items(gateway: Gateway, tmp_path: Path) -> None:
    work = run(gateway, tmp_path / "state.json")
    gateway.index.call("POST", "/collections/new/items/delete", {"ids": ["i/3", "i/4"]})
    with pytest.raises(Conflict, match=r"2 items of old are not in new.*state\.json"):
        work.switch("live")
    assert gateway.index.call("GET", "/collections/live")["name"] == "old"
    write(gateway.index, range(1))  # nobody is held back


def test_what_is_newer_in_the_new_collection_is_not_overwritten(gateway: Gateway, tmp_path: Path) -> None:
    work = run(gateway, tmp_path / "state.json")
    write(gateway.index, range(1))  # to the old one, not copied yet

    class Switching(PublicApi):
        def call(self, method: str, path: str, body: Any = None) -> Any:
            answer = super().call(method, path, body)
            if path.startswith("/aliases"):
                items = [{"id": id_, "vector": encode_vector(embed("late"))} for id_ in ("i/0", "late")]
                super().call("POST", "/collections/live/items", {"fingerprint": "f2", "items": items})
            return answer

    work = Reindex(gateway, Switching(gateway.index.url), tmp_path / "state.json", work.state)
    work.switch("live")
    new = contents(gateway.index, "new")
    assert len(new) == COUNT + 1
    assert new["i/0"]["vector"] == new["late"]["vector"] == encode_vector(embed("late"))


def test_beside_a_constant_writer_it_ends_and_has_everything(gateway: Gateway, tmp_path: Path) -> None:
    index, failures, held = gateway.index, list[str](), list[dict[str, Json]]()
    own, numbers = PublicApi(index.url), count(COUNT)

    def change() -> None:
        n = next(numbers)
        try:
            write(own, range(n, n + 1))
            own.call("POST", "/collections/old/items/delete", {"ids": [f"i/{n - 3}"]})
        except Exception as error:  # the test fails then
            failures.append(repr(error))

    class Looking(PublicApi):
        def call(self, method: str, path: str, body: Any = None) -> Any:
            answer = super().call(method, path, body)
            if path.startswith("/aliases"):
                held.extend(contents(index, name) for name in ("old", "new"))
            return answer

    with repeating(change):
        work = run(gateway, tmp_path / "state.json")
        Reindex(gateway, Looking(index.url), tmp_path / "state.json", work.state).switch("live")
    assert failures == []
    assert held[0].keys() == held[1].keys()


def test_writers_as_fast_as_the_model_are_told(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindex, "follow", partial(follow, short_s=0.0))
    gateway.before = lambda done: write(gateway.index, range(1000 + done, 1001 + done))
    with pytest.raises(Conflict, match="as fast as it is followed"):
        run(gateway, tmp_path / "state.json")


def test_files_stand_in_for_sources_and_what_has_neither_is_told(gateway: Gateway, tmp_path: Path) -> None:
    items = [
        {"id": id_, "vector": encode_vector(embed("")), "metadata": metadata}
        for id_, metadata in (("a.png", {}), ("b", {"file": "sub/b.png"}), ("none", {}), ("../secret", {}), (LONG, {}))
    ]
    gateway.index.call("POST", "/collections/old/items", {"fingerprint": "f1", "items": items})
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (images / "a.png").write_text("A")
    (images / "sub" / "b.png").write_text("B")
    work = run(gateway, tmp_path / "state.json", images)
    assert set(work.state.failed) == {"none", "../secret", LONG}
    new = contents(gateway.index, "new")
    assert new["a.png"]["vector"] == encode_vector(embed("A"))
    assert new["b"]["vector"] == encode_vector(embed("B"))
    (images / "none").write_text("N")
    assert set(run(gateway, tmp_path / "state.json", images).state.failed) == {"../secret", LONG}
    assert contents(gateway.index, "new")["none"]["vector"] == encode_vector(embed("N"))


def test_pictures_that_the_gateway_keeps_stand_in_for_sources(gateway: Gateway, tmp_path: Path) -> None:
    items = [{"id": id_, "vector": encode_vector(embed("")), "metadata": {}} for id_ in ("kept", "gone")]
    gateway.index.call("POST", "/collections/old/items", {"fingerprint": "f1", "items": items})
    work = run(gateway, tmp_path / "state.json", kept={"kept": b"K"}.get)
    assert work.state.failed == {"gone": "no source is recorded, no file has its name, no picture is kept"}
    assert contents(gateway.index, "new")["kept"]["vector"] == encode_vector(embed("K"))


def test_progress_of_other_collections_is_not_taken(tmp_path: Path) -> None:
    State("a", "b").save(tmp_path / "state.json")
    with pytest.raises(BadInput, match="a → b"):
        State.load(tmp_path / "state.json", "old", "new")
    for text in ("", "[]", '{"name": 1}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(BadInput, match="no progress"):
            State.load(tmp_path / "state.json", "old", "new")


def test_vectors_of_the_new_model_are_its_own(gateway: Gateway, tmp_path: Path) -> None:
    run(gateway, tmp_path / "state.json").switch("live")
    found = gateway.index.call(
        "POST",
        "/search",
        {"fingerprint": "f2", "searches": [{"collection": "live", "vector": encode_vector(embed("i/9")), "k": 1}]},
    )["results"][0]["hits"][0]
    assert (found["id"], np.float32(found["score"])) == ("i/9", np.float32(1))
