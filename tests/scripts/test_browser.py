"""Without a Chromium the reader is told what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_missing_chromium_is_named(tmp_path: Path) -> None:
    code = "from scripts.page.browser import find_chromium; find_chromium()"
    env = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert "apt-get install --no-install-recommends chromium" in done.stderr
