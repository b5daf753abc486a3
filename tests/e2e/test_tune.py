"""A trial of `clipserve bench tune`: an unpacked archive under the trial's settings, gone when the trial is over."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import yaml

from scripts.bench_tune import requests, serving
from scripts.tuning import Choice
from tests.e2e.conftest import send

pytestmark = pytest.mark.e2e


def test_a_trial_serves_with_its_settings_and_leaves_nothing(model_dirs: dict[str, Path]) -> None:
    config = yaml.safe_load((model_dirs["text"] / "model-config.yaml").read_text())
    with serving(model_dirs["text"], "text", config | Choice(2, 1, 4, 1).keys()) as url:
        statuses = [send("POST", url, body).status for body in requests("text")[:4]]
        workers = [
            child
            for child in psutil.Process().children(recursive=True)
            if "model_service_worker" in " ".join(child.cmdline())
        ]
        assert len(workers) == 2
    assert statuses == [200] * 4
    psutil.wait_procs(workers, timeout=10)
    assert [worker for worker in workers if worker.is_running()] == []
