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


def workers() -> set[psutil.Process]:
    """Those of every TorchServe that runs below this process, that of the shared stack too."""
    children = psutil.Process().children(recursive=True)
    return {child for child in children if "model_service_worker" in " ".join(child.cmdline())}


def test_a_trial_serves_with_its_settings_and_leaves_nothing(model_dirs: dict[str, Path]) -> None:
    config = yaml.safe_load((model_dirs["text"] / "model-config.yaml").read_text())
    before = workers()
    with serving(model_dirs["text"], "text", config | Choice(2, 1, 4, 1).keys()) as url:
        statuses = [send("POST", url, body).status for body in requests("text")[:4]]
        started = workers() - before
        assert len(started) == 2
    assert statuses == [200] * 4
    psutil.wait_procs(list(started), timeout=10)
    assert [worker for worker in started if worker.is_running()] == []
