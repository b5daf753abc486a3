"""Items of which one part can't be used: the other one goes in, and nothing is lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from clipserve_client.sources.entries import SourceError
from scripts.cli import app
from tests.bulk.conftest import Bulk, jpeg, table, tar

ODD_TEXTS = {"int64": [1, 2], "double": [1.5, 2.5], "list<": [["a", "b"], ["c"]], "bool": [True, False]}


@pytest.mark.parametrize("kind", ODD_TEXTS)
def test_a_column_of_texts_that_are_none(bulk: Bulk, tmp_path: Path, kind: str) -> None:
    """Refused where nothing else is to embed; beside pictures, each value is named."""
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"image": [jpeg(1), jpeg(2)], "text": ODD_TEXTS[kind]}), path)
    with pytest.raises(SourceError, match=f"no column to embed: text is of type {kind}"):
        bulk(path, embed="text")
    bulk(path, embed="both")
    assert bulk.bad() == {"t.parquet#0": "text not read", "t.parquet#1": "text not read"}
    assert all(row["vector"] and not row["text_vector"] for row in bulk.rows().values())


def test_the_message_shows_the_value(bulk: Bulk, tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "image": [jpeg(1), jpeg(2)], "text": [7.5, float("nan")]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "t.parquet")
    bulk(tmp_path / "t.parquet", embed="both")
    (told,) = table(bulk.out / "bad.parquet")
    assert (told["id"], told["message"]) == (
        "a", "the rest of the item is embedded: the row's text is 7.5, which is not a text",
    )  # fmt: skip
    bulk(tmp_path / "t.parquet", out=tmp_path / "pictures")
    kept = bulk.rows(tmp_path / "pictures")
    assert [row["metadata"] for row in kept.values()] == ['{"text": 7.5}', None], "of pictures it is metadata"


def test_texts_as_bytes_and_columns_of_nothing(bulk: Bulk, tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "text": pyarrow.nulls(2), "caption": pyarrow.array([b"a star", b"\xff"])}
    parquet.write_table(pyarrow.table(rows), tmp_path / "t.parquet")
    bulk(tmp_path / "t.parquet", embed="text")
    assert ({name: row["caption"] for name, row in bulk.rows().items()}, bulk.bad()) == (
        {"a": "a star"}, {"b": "caption not read"},
    )  # fmt: skip


def test_pictures_that_can_not_be_used_beside_texts(bulk: Bulk, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "away", "url": "http://127.0.0.1:9/a.jpg", "image": None, "text": "a star"},
        {"id": "damaged", "url": None, "image": b"no picture", "text": "a dot"},
        {"id": "nothing", "url": None, "image": b"no picture", "text": None},
        {"id": "good", "url": None, "image": jpeg(1), "text": "a line"},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    ended, _ = bulk(tmp_path / "t.parquet", embed="both", shard_items=10)
    assert {name: (bool(row["vector"]), bool(row["text_vector"])) for name, row in bulk.rows().items()} == {
        "away": (False, True), "damaged": (False, True), "good": (True, True),
    }  # fmt: skip
    assert bulk.bad() == {"away": "fetch_failed", "damaged": "invalid_image", "nothing": "invalid_image"}
    assert (ended.totals.rows, ended.totals.bad) == (3, 3)


SAMPLES = {
    "a.jpg": jpeg(1), "a.txt": b"a star",
    "b.jpg": b"no picture", "b.txt": b"a dot",
    "c.json": b'{"caption": "a line"}',
    "d.jpg": jpeg(2),
}  # fmt: skip


def test_samples_of_tars(bulk: Bulk, tmp_path: Path) -> None:
    path = tar(tmp_path / "t.tar", SAMPLES)
    bulk(path, embed="text", out=bulk.out)
    assert {name: row["caption"] for name, row in bulk.rows().items()} == {"a": "a star", "b": "a dot", "c": "a line"}
    assert bulk.bad() == {"d": "nothing to embed"}
    bulk.out = tmp_path / "both"
    bulk(path, embed="both")
    assert {name for name, row in bulk.rows().items() if not row["vector"]} == {"b", "c"}
    assert (set(bulk.rows()), bulk.bad()) == (set("abcd"), {"b": "invalid_image"}), "c lacks a picture, and no more"
    bulk.out = tmp_path / "pictures"
    bulk(path)
    assert (set(bulk.rows()), bulk.bad()) == ({"a", "d"}, {"b": "invalid_image", "c": "no picture"})


def test_files_of_folders(bulk: Bulk, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in {**SAMPLES, "e.jpg": b"", "e.txt": b"a ring", "f.txt": b"a bow"}.items():
        (folder / name).write_bytes(content)
    (folder / "f.jpg").symlink_to("gone.jpg")
    (folder / "g.jpg").symlink_to("gone.jpg")
    bulk(folder, embed="text")
    assert {name: row["caption"] for name, row in bulk.rows().items()} == {
        "a.jpg": "a star", "b.jpg": "a dot", "e.jpg": "a ring", "f.jpg": "a bow",
    }  # fmt: skip
    assert bulk.bad() == {"d.jpg": "nothing to embed", "g.jpg": "vanished or broken link"}
    bulk.out = tmp_path / "both"
    bulk(folder, embed="both")
    assert {name for name, row in bulk.rows().items() if not row["vector"]} == {"b.jpg", "e.jpg"}
    assert bulk.bad() == {
        "b.jpg": "invalid_image", "e.jpg": "empty file",
        "f.jpg": "vanished or broken link", "g.jpg": "vanished or broken link",
    }  # fmt: skip


def test_a_bucket_of_pictures_and_texts(bulk: Bulk) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    for name, content in {**SAMPLES, "e.jpg": b"", "e.txt": b"a ring"}.items():
        fs.pipe_file(f"/parts/{name}", content)
    try:
        bulk("memory://parts", embed="text")
        assert (set(bulk.rows()), bulk.bad()) == ({"a.jpg", "b.jpg", "e.jpg"}, {"d.jpg": "nothing to embed"})
    finally:
        fs.rm("/parts", recursive=True)


def test_captions_in_a_list_of_urls(bulk: Bulk, tmp_path: Path) -> None:
    lines = [{"url": "http://127.0.0.1:9/a", "id": "a", "metadata": {"caption": "a star"}}, {"url": "http://x/b"}]
    (tmp_path / "urls.jsonl").write_text("\n".join(map(json.dumps, lines)))
    bulk(tmp_path / "urls.jsonl", embed="text")
    assert (set(bulk.rows()), bulk.bad()) == ({"a"}, {"http://x/b": "nothing to embed"})


def test_thumbnails_of_texts_are_refused(tmp_path: Path) -> None:
    words = ["bulk", str(tmp_path), "--model", "demo", "--out", str(tmp_path / "o"), "--embed", "text"]
    ran = CliRunner().invoke(app, [*words, "--thumbnails", str(tmp_path / "t")])
    assert (ran.exit_code, "--thumbnails goes with" in ran.output) == (2, True), ran.output
