"""`clipserve archive verify` refuses archives that lack or hold what they should not, and says what."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clip_core.errors import BadModel
from scripts.archive.build import build
from scripts.archive.contents import CONFIG, MANIFEST, check_contents, unpack
from scripts.archive.verify import verify
from scripts.cli import app


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def members(archives: list[Path]) -> dict[str, bytes]:
    with zipfile.ZipFile(archives[0]) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def test_each_missing_file_of_ours_is_noticed(members: dict[str, bytes], tmp_path: Path) -> None:
    unpack(zipped(tmp_path / "a.mar", members), tmp_path / "whole")
    check_contents(tmp_path / "whole")
    needed = [name for name in members if name.startswith("clip_core/")] + ["text_handler.py", MANIFEST, CONFIG]
    for name in needed:
        path = tmp_path / "whole" / name
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(BadModel, match="missing"):
            check_contents(tmp_path / "whole")
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (MANIFEST, b"{", "MANIFEST.json is missing or damaged"),
        (MANIFEST, b"[]", "MANIFEST.json is missing or damaged"),
        (MANIFEST, b'{"model": {"modelName": "clip_text"}}', "no handler"),
        (CONFIG, b"minWorkers: [", "model-config.yaml is missing or damaged"),
        (CONFIG, b"junk", "not an object"),
        (CONFIG, b"\xff\xfe\x00", "model-config.yaml is missing or damaged"),
        ("text_handler.py", b"def", "not Python"),
        ("text_handler.py", b"def f():\n    from clip_core import nothing", "clip_core.nothing, which is missing"),
    ],
)
def test_damaged_files_are_named(
    members: dict[str, bytes], tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(BadModel, match=re.escape(message)):
        verify(zipped(tmp_path / "a.mar", {**members, name: content}))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..\\x", "C:\\x", "C:x", "\\\\host\\x"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadModel, match=re.escape(repr(name))):
        verify(zipped(tmp_path / "a.mar", {name: b""}))


def test_an_empty_archive_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"^a.mar: MAR-INF/MANIFEST.json is missing"):
        verify(zipped(tmp_path / "a.mar", {}))


def test_settings_of_the_wrong_type_are_one_line(members: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(BadModel) as caught:
        verify(zipped(tmp_path / "a.mar", {**members, CONFIG: b"threads: many"}))
    assert "Traceback" not in caught.value.message


def test_damaged_bytes_raise_nothing_else(archives: list[Path], tmp_path: Path) -> None:
    whole, refused = archives[0].read_bytes(), 0
    for place in range(0, len(whole), len(whole) // 10):
        damaged = bytearray(whole)
        damaged[place : place + 64] = bytes(64)
        (tmp_path / "a.mar").write_bytes(damaged)
        try:
            unpack(tmp_path / "a.mar", tmp_path / "out")
        except BadModel:
            refused += 1
    assert refused


@pytest.mark.parametrize("prefix", ["../x", "/tmp/x", "a/b", "", ".hidden", "x" * 300, "a b"])
def test_a_prefix_is_no_path(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="prefix"):
        build("demo", prefix=prefix, model_store=tmp_path)


def test_a_checkpoint_and_a_store_that_are_no_folders(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "file").touch()
    for name, message in (("nope", "is no folder and no file"), ("file", "is empty")):
        with pytest.raises(BadModel, match=message):
            build("demo", model_store=tmp_path, checkpoint=tmp_path / name)
    with pytest.raises(BadModel, match="can't be written"):
        build("demo", checkpoint=checkpoint, model_store=tmp_path / "file" / "store")


def test_the_command_fails_on_a_damaged_archive(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["archive", "verify", str(zipped(tmp_path / "a.mar", {}))]).exit_code != 0
