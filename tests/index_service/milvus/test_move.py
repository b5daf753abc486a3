"""`clipserve index move`: from one store to the other and back, while somebody writes, and after it was cut short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.lib.milvus_server import MilvusServer
from benchmarks.lib.repeating import repeating
from clip_core.wire import encode_vector
from scripts.cli import app
from scripts.collections.move import Move
from scripts.collections.reindex import State
from scripts.public_api import PublicApi
from tests.index_service.helpers import Service, unit_rows
from tests.index_service.milvus.conftest import empty

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.slow, pytest.mark.timeout(120)]

DIM, N = 8, 2500
ROWS = unit_rows(N, DIM)


@pytest.fixture
def api(tmp_path: Path, milvus_server: MilvusServer) -> Iterator[PublicApi]:
    service = Service(tmp_path, milvus_uri=milvus_server.uri, milvus_prefix="moving", milvus_watermark_delay_s=0)
    api = PublicApi(service.url())
    api.call("PUT", "/collections/shapes", {"model": "m", "fingerprint": "f", "dim": DIM, "metadata": {"a": 1}})
    write(api, "shapes", range(N))
    api.call("PUT", "/aliases/live", {"collection": "shapes"})
    yield api
    empty(api)
    assert service.stop() == 0


def write(api: PublicApi, collection: str, numbers: Any, **metadata: Any) -> None:
    items = [
        {
            "id": f"i{n:05}",
            "vector": encode_vector(ROWS[n % N]),
            "metadata": {"n": n, **metadata},
            "source": {"text": f"t{n}"} if n % 2 else None,
        }
        for n in numbers
    ]
    for start in range(0, len(items), 500):
        api.call("POST", f"/collections/{collection}/items", {"items": items[start : start + 500]})


def contents(api: PublicApi, collection: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    since: int | None = 0
    while since is not None:
        page = api.call("GET", f"/collections/{collection}/items?since={since}&limit=1000&include=vector,source")
        for item in page["items"]:
            item.pop("seq")
            found[item["id"]] = item
        since = page["next"]
    return found


def test_there_and_back_by_the_command_line(api: PublicApi, tmp_path: Path) -> None:
    before = contents(api, "shapes")
    for source, store, target in (("live", "milvus", "shapes-milvus"), ("live", "embedded", "back")):
        given = ["index", "move", source, "--to", store, "--as", target, "--url", api.url]
        done = CliRunner().invoke(app, [*given, "--progress", str(tmp_path / "progress.json")])
        assert done.exit_code == 0, done.output
        assert "live leads to" in done.output
        described = api.call("GET", "/collections/live")
        assert (described["name"], described["store"], described["count"]) == (target, store, N)
        assert described["metadata"] == {"a": 1}
        assert contents(api, target) == before


def test_while_somebody_writes(api: PublicApi, tmp_path: Path) -> None:
    own, numbers, failures = PublicApi(api.url), count(N), list[str]()

    def change() -> None:
        n = next(numbers)
        try:
            write(own, "live", [n, n % N], late=n)
            own.call("POST", "/collections/live/items/delete", {"ids": [f"i{n - 1:05}"]})
        except Exception as error:  # the test fails then
            failures.append(repr(error))

    work = Move(api, tmp_path / "progress.json", State("shapes", "there"), "milvus")
    with repeating(change, 0.05):
        work.copy(Console(quiet=True))
        work.complete("live")
    assert failures == []
    old, new = contents(api, "shapes"), contents(api, "there")
    assert api.call("GET", "/collections/live")["name"] == "there"
    assert {id_ for id_ in old if "late" not in old[id_]["metadata"]} <= set(new)
    for id_ in old.keys() & new.keys():
        assert new[id_]["metadata"].get("late", 0) >= old[id_]["metadata"].get("late", 0)
    assert max(item["metadata"].get("late", 0) for item in new.values()) > N


def test_a_second_run_goes_on(api: PublicApi, tmp_path: Path) -> None:
    path = tmp_path / "progress.json"

    class CutShort(PublicApi):
        calls = 0

        def call(self, method: str, path: str, body: Any = None) -> Any:
            if path.endswith("/items/copy"):
                type(self).calls += 1
                if self.calls == 2:
                    raise KeyboardInterrupt
            return super().call(method, path, body)

    with pytest.raises(KeyboardInterrupt):
        Move(CutShort(api.url), path, State("shapes", "there"), "milvus").copy(Console(quiet=True))
    assert json.loads(path.read_text())["since"] == 1000
    again = Move(api, path, State.load(path, "shapes", "there"), "milvus")
    assert again.copy(Console(quiet=True)) == N
    assert contents(api, "there") == contents(api, "shapes")
