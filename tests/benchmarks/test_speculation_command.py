"""`make bench-speculation`, few of everything: it ends in one JSON document whose captions are all unchanged."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_quick_one_runs_and_no_caption_changes() -> None:
    command = [sys.executable, "-m", "benchmarks.speculation", "--quick", "--precisions", "fp32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    bars = {bar["name"]: bar["holds"] for bar in report["bars"]}
    assert bars["changed_fp32"]
    assert report["figures"]["fp32_neighbours_tokens_per_pass"] > 2
    assert report["figures"]["fp32_speed_outputs_changed"] == 0
