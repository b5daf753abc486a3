"""Ctrl-C at any moment: one line and the status that shells expect, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from scripts.__main__ import main
main()
"""


def test_ctrl_c_while_modules_are_imported_is_one_line() -> None:
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, check=False)
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
