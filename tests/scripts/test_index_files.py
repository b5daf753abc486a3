"""`clipserve index`: against a real index service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from clip_core.wire import decode_vector, encode_vector
from scripts.cli import app
from tests.index_service.helpers import Service, unit_rows

VECTORS = unit_rows(600, 8)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    service = Service(tmp_path_factory.mktemp("index"))
    try:
        url = service.url()
        httpx.put(f"{url}/collections/c", json={"model": "m", "fingerprint": "f", "dim": 8, "metadata": {"a": 1}})
        items = [
            {"id": f"ü{n}", "vector": encode_vector(row), "metadata": {"n": n}, "source": {"text": f"{n}"}}
            for n, row in enumerate(VECTORS)
        ]
        assert httpx.post(f"{url}/collections/c/items", json={"fingerprint": "f", "items": items}).status_code == 200
        yield url
    finally:
        service.kill()


def run(url: str, *words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["index", *map(str, words), "--url", url], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def test_an_export_comes_back_as_it_was(url: str, tmp_path: Path) -> None:
    run(url, "export", "c", tmp_path / "c.parquet")
    assert httpx.get(f"{url}/snapshots").json() == {"snapshots": []}
    run(url, "import", tmp_path / "c.parquet", "copy")
    described = [httpx.get(f"{url}/collections/{name}").json() for name in ("c", "copy")]
    for field in ("model", "fingerprint", "dim", "count", "metadata"):
        assert described[0][field] == described[1][field]
    item = httpx.get(f"{url}/collections/copy/items/ü7", params={"include": "vector,source"}).json()
    assert np.array_equal(decode_vector(item["vector"]), VECTORS[7])
    assert (item["metadata"], item["source"]) == ({"n": 7}, {"text": "7"})


def test_an_export_of_inner_products_keeps_the_metric_and_every_bit(url: str, tmp_path: Path) -> None:
    raw = np.array([[0] * 8, [-0.0, 1e-45, 3e17, 1e-20, -7, 0.1, 0, 2]], np.float32)
    spec = {"model": "m", "fingerprint": "f", "dim": 8, "metric": "dot", "engine": "faiss", "factory": "IVF4,SQ8"}
    assert httpx.put(f"{url}/collections/raw", json=spec).status_code == 201
    items = [{"id": f"{n}", "vector": encode_vector(row)} for n, row in enumerate(raw)]
    httpx.post(f"{url}/collections/raw/items", json={"fingerprint": "f", "items": items})
    run(url, "export", "raw", tmp_path / "raw.parquet")
    run(url, "import", tmp_path / "raw.parquet", "raw2")
    described = httpx.get(f"{url}/collections/raw2").json()
    assert {name: described[name] for name in spec} == spec
    shown = [httpx.get(f"{url}/collections/raw2/items/{n}", params={"include": "vector"}).json() for n in range(2)]
    assert b"".join(decode_vector(item["vector"]).tobytes() for item in shown) == raw.tobytes()


def test_a_snapshot_is_made_listed_and_restored(url: str) -> None:
    name = run(url, "snapshot", "c").split()[0]
    assert name in run(url, "snapshots")
    assert "600 items are in again" in run(url, "restore", "again", name)


def test_any_parquet_with_ids_and_vectors_can_be_imported(url: str, tmp_path: Path) -> None:
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "vector": [[1.0, 2.0], [0.0] * 8]}), path)
    assert httpx.put(f"{url}/collections/p", json={"model": "m", "fingerprint": "f", "dim": 8}).status_code == 201
    output = run(url, "import", path, "p", code=1)
    assert output.count("not imported") == 2
    assert "2 dimensions" in output


def test_a_file_that_names_no_model_needs_its_collection(url: str, tmp_path: Path) -> None:
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"id": ["a"], "vector": [[1.0] * 8]}), path)
    result = CliRunner().invoke(app, ["index", "import", str(path), "none", "--url", url])
    assert "make the collection first" in str(result.exception)


def test_odd_rows_and_columns_are_named_and_the_rest_goes_in(url: str, tmp_path: Path) -> None:
    """Columns that nobody asked for are not read; an id of bytes is a name."""
    httpx.put(f"{url}/collections/odd", json={"model": "m", "fingerprint": "f", "dim": 8})
    vectors = [row.tolist() for row in VECTORS[:7]]
    vectors[3], vectors[4] = None, [1.0, 2.0]
    metadata = ['{"n": 1}', "{", '{"n": 338958331222012082418099330867817087233}', None, None, '{"x": NaN}', None]
    table = {
        "id": pa.array([b"a", b"b", b"c", b"d", b"e", b"f", None]),
        "vector": pa.array(vectors, pa.list_(pa.float32())),
        "metadata": metadata,
        "when": pa.array([99999999] * 7, pa.date32()),
    }
    pq.write_table(pa.table(table), tmp_path / "odd.parquet")
    told = run(url, "import", tmp_path / "odd.parquet", "odd", code=1)
    for name in ("b: ", "c: ", "d: ", "e: ", "f: ", "row 6: "):
        assert f"not imported {name}" in told
    found = httpx.get(f"{url}/collections/odd/items").json()["items"]
    assert [(item["id"], item["metadata"]) for item in found] == [("a", {"n": 1})]
