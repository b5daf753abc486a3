"""`clipserve index move` beside a client that writes and deletes all the time: what it was told is what is there."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from clip_core.errors import Conflict
from clip_core.wire import encode_vector
from scripts.collections.move import Move
from scripts.collections.reindex import State
from scripts.public_api import PublicApi
from tests.index_service.helpers import Service, unit_rows

DIM, N = 8, 1500
ROWS = unit_rows(N, DIM)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[PublicApi]:
    service = Service(tmp_path / "index")
    api = PublicApi(service.url())
    api.call("PUT", "/collections/old", {"model": "m", "fingerprint": "f", "dim": DIM})
    for start in range(0, N, 500):
        items = [{"id": f"i{n}", "vector": encode_vector(ROWS[n])} for n in range(start, start + 500)]
        api.call("POST", "/collections/old/items", {"items": items})
    api.call("PUT", "/aliases/live", {"collection": "old"})
    yield api
    assert service.stop() == 0


class Changing:
    """Writes items and deletes them soon after, by the alias; `there` is what was acknowledged last of each."""

    def __init__(self, api: PublicApi) -> None:
        self._api, self._random = PublicApi(api.url), random.Random(1)
        self.there, self.failures = dict.fromkeys((f"i{n}" for n in range(N)), -1), list[str]()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Changing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        n = 0
        while not self._stopped.is_set():
            id_ = f"i{self._random.randrange(40)}"
            try:
                if id_ in self.there:
                    self._api.call("DELETE", f"/collections/live/items/{id_}")
                    del self.there[id_]
                else:
                    item = {"id": id_, "vector": encode_vector(ROWS[n % N]), "metadata": {"n": n}}
                    self._api.call("POST", "/collections/live/items", {"items": [item]})
                    self.there[id_] = n
            except Exception as error:  # the test fails then
                self.failures.append(repr(error))
            n += 1


def contents(api: PublicApi, collection: str) -> dict[str, int]:
    found: dict[str, int] = {}
    after: str | None = ""
    while after is not None:
        page = api.call("GET", f"/collections/{collection}/items?limit=1000&after={after}")
        found |= {item["id"]: item["metadata"].get("n", -1) for item in page["items"]}
        after = page["next"]
    return found


def test_nothing_that_was_deleted_around_the_switch_comes_back(api: PublicApi, tmp_path: Path) -> None:
    with Changing(api) as client:
        for source, target in (("old", "one"), ("one", "two"), ("two", "three")):
            work = Move(api, tmp_path / f"{target}.json", State(source, target), "embedded")
            work.copy(Console(quiet=True))
            work.complete("live")
            assert api.call("GET", "/collections/live")["name"] == target
    assert client.failures == []
    assert contents(api, "three") == client.there


def test_a_switch_that_takes_too_long_is_told(api: PublicApi, tmp_path: Path) -> None:
    class Slow(PublicApi):
        def call(self, method: str, path: str, body: object = None) -> object:
            if path.startswith("/aliases"):
                super().call("DELETE", "/collections/old/hold")  # as if a minute had passed
            return super().call(method, path, body)

    work = Move(Slow(api.url), tmp_path / "progress.json", State("old", "new"), "embedded")
    work.copy(Console(quiet=True))
    with pytest.raises(Conflict, match="may be missing"):
        work.complete("live")
