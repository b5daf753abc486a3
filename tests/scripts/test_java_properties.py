"""Property files that Java reads as they were meant."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from scripts.processes.java_properties import read_properties, write_properties
from scripts.stack.torchserve import environment, properties
from scripts.stack.up_settings import UpSettings

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(values=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), TEXT))
def test_what_is_written_is_ascii_and_read_again(values: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p"
        write_properties(path, values)
        assert path.read_bytes().isascii()
        assert read_properties(path) == values


def test_as_java_writes_them(tmp_path: Path) -> None:
    """The right side is what java.util.Properties.load takes for the left one."""
    path = tmp_path / "p"
    write_properties(path, {"store": "/srv/dåta #1/日本/😀", "a b": " c:\\d"})
    assert path.read_text("ascii") == (
        "store=/srv/d\\u00e5ta #1/\\u65e5\\u672c/\\ud83d\\ude00\n" + "a\\ b=\\ c:\\\\d\n"
    )


def test_what_java_reads(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"# no=1\n  ! no=2\n\n a = b c\nd:e=f\ng h\nlong=one,\\\n   two\nlatin=\xe5\nempty\n")
    expected = {"a": "b c", "d": "e=f", "g": "h", "long": "one,two", "latin": "å", "empty": ""}
    assert read_properties(path) == expected


def test_torchserve_gets_paths_of_any_letters(tmp_path: Path) -> None:
    folder = tmp_path / "dåta 日本"
    folder.mkdir()
    written = properties(UpSettings(), folder / "store", folder)
    assert written.read_bytes().isascii()
    assert read_properties(written)["model_store"] == str(folder / "store")
    assert environment(UpSettings(), folder, folder)["LC_ALL"] == "C.UTF-8"
