"""hadolint has nothing to say of the Dockerfiles, but that Debian's packages are not pinned: security fixes come in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.ship.helm import ROOT, TOOLS


@pytest.mark.parametrize("path", sorted((ROOT / "docker").glob("Dockerfile*")), ids=lambda path: path.name)
def test_hadolint(path: Path) -> None:
    command = [str(TOOLS / "hadolint"), "--ignore", "DL3008", "--failure-threshold", "warning", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
