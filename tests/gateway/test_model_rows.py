"""The file of models: what makes sense in it, and what becomes of one that does not."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.models.rows import RowsError, parse_rows, rows_text
from gateway.models.rows_file import RowsFile
from tests.gateway.model_rows import DEMO, OTHER, write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "models.json", DEMO, OTHER)


def test_a_bad_file_is_told_once_and_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = RowsFile(file)
    assert [row.name for row in rows.first()] == ["demo", "other"]
    assert rows.changed() is None
    with caplog.at_level(logging.ERROR):
        for content in ("{", "{ "):
            file.write_text(content)
            assert rows.changed() is None
        assert rows.changed() is None
        file.unlink()
        assert rows.changed() is None
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert any("the models read before stay" in record.getMessage() for record in caplog.records)
    write(file, DEMO)
    assert [row.name for row in rows.changed() or ()] == ["demo"]


def test_a_file_that_can_not_be_read_for_a_moment_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, fails = RowsFile(file), [OSError(116, "Stale file handle")]
    rows.first()
    write(file, DEMO)
    read = Path.read_bytes
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: _raise(fails[0]) if path == file else read(path))
        assert rows.changed() is None
    assert [row.name for row in rows.changed() or ()] == ["demo"]


def _raise(error: Exception) -> bytes:
    raise error


async def test_rows_that_can_not_be_served_do_not_end_the_watch(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.models.rows_file.LOOK_S", 0.01)
    rows, taken = RowsFile(file), list[int]()
    rows.first()

    def take(found: Any) -> None:
        taken.append(len(found))
        if len(taken) == 1:
            write(file, DEMO, OTHER)
            raise RuntimeError("no socket is left")

    write(file, DEMO)
    watching = asyncio.create_task(rows.watch(take))
    while len(taken) < 2:
        await asyncio.sleep(0.01)
    watching.cancel()
    assert taken == [1, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([DEMO, {**OTHER, "name": "demo"}], "two models are named 'demo'"),
        ([DEMO, {**OTHER, "default": True}], "two models are the default"),
        ([{"text": "a", "image": "b", "multimodal": "c"}], "a row has no `name`"),
        ([{"name": "a/b"}], "models.0.text: String should match"),
        ([{"name": "a", "torchserve_url": "localhost"}], "http://"),
        ([{"name": "a", "torchserve_url": "http://a:8080"}], "`torchserve_url` and `management_url` go together"),
        ([{"name": "a", "endpoint": "x"}], "models.0.endpoint: Extra inputs are not permitted"),
        ([{"name": "a\nb", "text": "a", "image": "a", "multimodal": "a"}], "control characters"),
        (["a"], "models.0: "),
        ("a", "models: "),
    ],
)
def test_rows_that_make_no_sense(rows: Any, message: str) -> None:
    with pytest.raises(RowsError) as caught:
        parse_rows(json.dumps({"models": rows}).encode())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_survive_being_written() -> None:
    rows = parse_rows(b'{"models": [{"name": "b"}, {"name": "a", "default": true, "text": "clip_text"}]}')
    assert [row.name for row in rows] == ["a", "b"]
    assert parse_rows(rows_text(rows).encode()) == rows
