"""Snapshots, exports and imports between the stores: every item, bit for bit, and the settings that both know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.lib.milvus_server import MilvusServer
from clip_core.wire import encode_vector
from scripts.cli import app
from scripts.public_api import PublicApi
from tests.index_service.helpers import Service, unit_rows
from tests.index_service.milvus.conftest import empty, over

pytestmark = [pytest.mark.xdist_group("milvus"), pytest.mark.slow]

DIM, N = 8, 300
ROWS = unit_rows(N, DIM)
SETTINGS = {"model": "m", "fingerprint": "f", "dim": DIM, "metric": "dot", "recall_target": 0.9, "metadata": {"a": [1]}}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, milvus_server: MilvusServer) -> Iterator[PublicApi]:
    """Collections go to Milvus where nobody says otherwise, as with index services that have no disk."""
    service = Service(tmp_path_factory.mktemp("index"), **over(milvus_server))
    api = PublicApi(service.url())
    items = [
        {
            "id": f"ü{n:03}",
            "vector": encode_vector(3 * row),
            "metadata": {"n": n, "name": "Größe"},
            "source": {"text": f"t{n}"} if n % 2 else None,
        }
        for n, row in enumerate(ROWS)
    ]
    for name, store, engine in (("there", "milvus", "hnsw"), ("here", "embedded", "certified")):
        api.call("PUT", f"/collections/{name}", {**SETTINGS, "store": store, "engine": engine})
        api.call("POST", f"/collections/{name}/items", {"items": items})
        api.call("DELETE", f"/collections/{name}/items/ü001")
    yield api
    empty(api)
    assert service.stop() == 0


def run(api: PublicApi, *words: object) -> str:
    done = CliRunner().invoke(app, ["index", *map(str, words), "--url", api.url], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def contents(api: PublicApi, collection: str) -> dict[str, Any]:
    page = api.call("GET", f"/collections/{collection}/items?since=0&limit=1000&include=vector,source")
    assert page["next"] is None
    return {item["id"]: {**item, "seq": None} for item in page["items"]}


def assert_same(api: PublicApi, old: str, new: str, store: str) -> None:
    described = api.call("GET", f"/collections/{new}")
    assert {name: described[name] for name in SETTINGS} == SETTINGS
    assert (described["store"], described["count"]) == (store, N - 1)
    assert contents(api, new) == contents(api, old)


@pytest.mark.parametrize("source", ["there", "here"])
def test_a_snapshot_is_restored_into_either_store(api: PublicApi, source: str) -> None:
    name = run(api, "snapshot", source).split()[0]
    run(api, "restore", f"{source}-a", name)
    assert_same(api, source, f"{source}-a", "milvus")
    run(api, "restore", f"{source}-b", name, "--store", "embedded")
    assert_same(api, source, f"{source}-b", "embedded")


@pytest.mark.parametrize("source", ["there", "here"])
def test_an_export_is_imported_into_either_store(api: PublicApi, source: str, tmp_path: Path) -> None:
    run(api, "export", source, tmp_path / "x.parquet")
    told = run(api, "import", tmp_path / "x.parquet", f"{source}-c")
    assert_same(api, source, f"{source}-c", "milvus")
    run(api, "import", tmp_path / "x.parquet", f"{source}-d", "--store", "embedded")
    assert_same(api, source, f"{source}-d", "embedded")
    engines = [api.call("GET", f"/collections/{source}-{copy}")["engine"] for copy in "cd"]
    assert engines == {"there": ["hnsw", "hnsw"], "here": ["auto", "certified"]}[source]
    assert ("has the engine auto" in told) == (source == "here")
