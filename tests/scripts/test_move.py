"""`clipserve index move` beside a client that writes and deletes all the time: what it was told is what is there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.lib.repeating import repeating
from clip_core.errors import Conflict
from clip_core.wire import encode_vector
from scripts.cli import app
from scripts.collections import write_hold
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
        self._changes = 0

    def change(self) -> None:
        id_, n = f"i{self._random.randrange(40)}", self._changes
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
        self._changes += 1


def contents(api: PublicApi, collection: str) -> dict[str, int]:
    found: dict[str, int] = {}
    after: str | None = ""
    while after is not None:
        page = api.call("GET", f"/collections/{collection}/items?limit=1000&after={after}")
        found |= {item["id"]: item["metadata"].get("n", -1) for item in page["items"]}
        after = page["next"]
    return found


def test_nothing_that_was_deleted_around_the_switch_comes_back(api: PublicApi, tmp_path: Path) -> None:
    client = Changing(api)
    with repeating(client.change):
        for source, target in (("old", "one"), ("one", "two"), ("two", "three")):
            work = Move(api, tmp_path / f"{target}.json", State(source, target), "embedded")
            work.copy(Console(quiet=True))
            work.complete("live")
            assert api.call("GET", "/collections/live")["name"] == target
    assert client.failures == []
    assert contents(api, "three") == client.there


def test_a_new_collection_that_was_deleted_is_filled_from_the_start(api: PublicApi, tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    for _ in range(2):
        work = Move(api, path, State.load(path, "old", "new"), "embedded")
        assert work.copy(Console(quiet=True)) == N
        work.complete(None)
        api.call("DELETE", "/collections/new")


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


def moved(api: PublicApi, path: Path) -> Move:
    work = Move(api, path, State.load(path, "old", "new"), "embedded")
    work.copy(Console(quiet=True))
    return work


def test_a_target_that_was_deleted_is_filled_again(api: PublicApi, tmp_path: Path) -> None:
    moved(api, tmp_path / "progress.json")
    api.call("DELETE", "/collections/new")
    moved(api, tmp_path / "progress.json").complete("live")
    assert contents(api, "new").keys() == contents(api, "old").keys()


def test_what_is_not_alike_is_copied_again_by_the_next_run(api: PublicApi, tmp_path: Path) -> None:
    work = moved(api, tmp_path / "progress.json")
    api.call("POST", "/collections/new/items/delete", {"ids": ["i3"]})  # somebody else
    with pytest.raises(Conflict, match="not alike"):
        work.complete("live")
    moved(api, tmp_path / "progress.json").complete("live")
    assert contents(api, "new").keys() == contents(api, "old").keys()


def test_an_alias_that_leads_elsewhere_by_now_is_not_switched(api: PublicApi, tmp_path: Path) -> None:
    work = moved(api, tmp_path / "progress.json")
    api.call("PUT", "/collections/third", {"model": "m", "fingerprint": "f", "dim": DIM})
    api.call("PUT", "/aliases/live", {"collection": "third"})
    with pytest.raises(Conflict, match="leads to third by now"):
        work.complete("live")
    assert api.call("GET", "/collections/live")["name"] == "third"
    assert api.call("DELETE", "/collections/old/hold") == {"held": False}


def test_nothing_is_switched_once_writes_may_go_on(
    api: PublicApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = moved(api, tmp_path / "progress.json")
    monkeypatch.setattr(write_hold, "_SECONDS", 2)
    with pytest.raises(Conflict, match="nothing was switched"):
        work.complete("live")
    assert api.call("GET", "/collections/live")["name"] == "old"


def test_a_hold_of_another_run_is_waited_for_and_one_of_the_same_taken_over(api: PublicApi) -> None:
    api.call("PUT", "/collections/old/hold", {"seconds": 1})
    with write_hold.WriteHold(api, "/collections/old", "move to new") as hold:
        hold.check()
    api.call("PUT", "/collections/old/hold", {"seconds": 60, "owner": "move to new"})
    with write_hold.WriteHold(api, "/collections/old", "move to new") as hold:
        hold.check()
    assert api.call("DELETE", "/collections/old/hold") == {"held": False}


def test_a_second_run_after_the_switch_copies_nothing(api: PublicApi, tmp_path: Path) -> None:
    given = ["index", "move", "live", "--to", "embedded", "--url", api.url, "--progress", str(tmp_path / "p.json")]
    done = CliRunner().invoke(app, given)
    assert (done.exit_code, "live leads to old, which is in embedded already" in done.output) == (0, True)
    done = CliRunner().invoke(app, [*given, "--as", "copy"])
    assert (done.exit_code, api.call("GET", "/collections/live")["name"]) == (0, "copy")
    assert "already" in CliRunner().invoke(app, [*given, "--as", "copy"]).output
    assert [each["name"] for each in api.call("GET", "/collections")["collections"]] == ["copy", "old"]
