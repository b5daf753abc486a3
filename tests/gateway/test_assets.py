"""The page's own files: one copy in memory for each, which is new when the file is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from clip_core.errors import NotFound
from gateway.inputs.assets import Assets

NOTHING = Headers({})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "card.js").write_text("export const one = 1;")
    return tmp_path


def test_the_type_and_the_content_are_the_files(folder: Path) -> None:
    answer = Assets(folder).answer("grid/card.js", NOTHING)
    assert (answer.body, answer.status_code) == (b"export const one = 1;", 200)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_a_changed_file_is_sent_anew_and_an_unchanged_one_is_not(folder: Path) -> None:
    assets, file = Assets(folder), folder / "grid" / "card.js"
    tag = assets.answer("grid/card.js", NOTHING).headers["etag"]
    for told in (tag, f'"x", W/{tag}'):
        assert assets.answer("grid/card.js", Headers({"if-none-match": told})).status_code == 304
    file.write_text("export const one = 2;")
    os.utime(file, ns=(1, 1))
    answer = assets.answer("grid/card.js", Headers({"if-none-match": tag}))
    assert (answer.status_code, answer.body) == (200, b"export const one = 2;")
    file.unlink()
    with pytest.raises(NotFound):
        assets.answer("grid/card.js", NOTHING)


def test_other_names_of_a_file_take_no_memory(folder: Path) -> None:
    assets = Assets(folder)
    for name in ("grid/card.js", "./grid/card.js", "grid//card.js", "grid/../grid/card.js"):
        assert assets.answer(name, NOTHING).status_code == 200
    assert list(assets._read) == ["grid/card.js"]
