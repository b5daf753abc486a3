"""A trial of `clipserve bench tune`: an unpacked archive under the trial's settings, gone when the trial is over.

Its two workers share a Redis, a real socket away, and take admin requests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import psutil
import pytest
import yaml

from scripts.stack.live_stack import command_line
from scripts.tune.choices import Choice
from scripts.tune.requests import requests
from scripts.tune.trial_server import serving
from tests.e2e.conftest import send

pytestmark = pytest.mark.e2e
TOKEN = "let me manage"


def workers() -> set[psutil.Process]:
    """Those of every TorchServe that runs below this process, that of the shared stack too."""
    children = psutil.Process().children(recursive=True)
    return {child for child in children if "model_service_worker" in command_line(child)}


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="module")
def trial(model_dirs: dict[str, Path], redis_url: str) -> Iterator[tuple[str, set[psutil.Process]]]:
    """The address of two workers of the text endpoint, and their processes, which are gone afterwards."""
    config = yaml.safe_load((model_dirs["text"] / "model-config.yaml").read_text())
    env = {
        "CLIPSERVE_HANDLER_ADMIN_TOKEN": TOKEN,
        "CLIPSERVE_HANDLER_CACHE_REDIS_URL": redis_url,
        "CLIPSERVE_HANDLER_CACHE_REDIS_TIMEOUT_S": "5",
    }
    before = workers()
    with serving(model_dirs["text"], "text", config | Choice(2, 1, 4, 1).keys(), cache=True, env=env) as url:
        started = workers() - before
        yield url, started
    psutil.wait_procs(list(started), timeout=10)
    assert [worker for worker in started if worker.is_running()] == []


def test_a_trial_serves_with_its_settings(trial: tuple[str, set[psutil.Process]]) -> None:
    url, started = trial
    assert len(started) == 2
    assert [send("POST", url, body).status for body in requests("text")[:4]] == [200] * 4


def admin(url: str, **body: Any) -> dict[str, Any]:
    answer = send("POST", url, {"admin": body}, Authorization=f"Bearer {TOKEN}")
    assert answer.status == 200, answer.raw
    parsed: dict[str, Any] = answer.json
    return parsed


def until_both(url: str, texts: list[str], reached: Callable[[int], bool]) -> None:
    """Ask for `texts` until both workers hold a number of vectors that is `reached`."""
    deadline, held = time.monotonic() + 60, {"": -1}
    while len(held) < 3 or not all(reached(entries) for worker, entries in held.items() if worker):
        assert time.monotonic() < deadline, held
        assert send("POST", url, {"input": texts}).status == 200
        state = admin(url, cache="stats")
        held[state["worker"]] = state["cache"]["entries"]


def test_an_admin_request_reaches_the_caches_of_all_workers(trial: tuple[str, set[psutil.Process]]) -> None:
    url, _ = trial
    assert send("POST", url, {"admin": {"cache": "clear"}}, Authorization="Bearer wrong").status == 401
    admin(url, cache="clear")
    until_both(url, ["a red circle", "a blue square"], lambda entries: entries == 2)
    assert admin(url, cache="forget", input=["a red circle"])["cache"]["forgotten"] == 1
    until_both(url, ["a blue square"], lambda entries: entries == 1)
    until_both(url, ["a red circle", "a blue square"], lambda entries: entries == 2)
    admin(url, cache="clear")
    until_both(url, ["a green star"], lambda entries: entries == 1)
    assert admin(url, cache="stats")["cache"]["shared_errors"] == 0
