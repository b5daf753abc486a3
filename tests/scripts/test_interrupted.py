"""Ctrl-C at any moment: one line and the status that shells expect, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = """
import sys
interrupted = sys.argv.pop(1)
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == interrupted:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from scripts.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("imported", "command"),
    [
        ("typer", ["--version"]),
        ("scripts.collections.ingest", ["ingest", ".", "--collection", "c"]),
        ("scripts.demo.search_table", ["search", "a star"]),
    ],
)
def test_ctrl_c_is_one_line(imported: str, command: list[str]) -> None:
    """While modules are imported, and in a command that has no words of its own for it."""
    words = [sys.executable, "-c", INTERRUPTED, imported, *command]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr, ran.stdout) == (130, "Stopped.\n", "")


def test_the_command_begins_there() -> None:
    """Before anything large is imported."""
    assert 'clipserve = "scripts.__main__:main"' in (ROOT / "pyproject.toml").read_text()
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import scripts.__main__"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "typer" not in ran.stderr
