"""A model from a hub to its first search, and what a hub that is away costs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from benchmarks.stack.ready_stack import START_S
from scripts.hub.loopback_hub import loopback_hub
from scripts.stack.live_stack import LiveStack, live_stack

NAME = "bench/vit-b-32"
_PATIENCE_S = 120.0


def hub_figures(work: Path, weights: Path) -> dict[str, float]:
    """Seconds from the start of `clipserve up --model hf-hub:…` to the first search's answer, and to the error."""
    work.mkdir(parents=True)
    with loopback_hub() as hub:
        hub.add(NAME, weights)
        first_search_s = _first_search_s(work, {"HF_ENDPOINT": hub.url, "HF_HOME": str(work / "cache")})
        hub.faults.silent = True
        silent_s = _seconds_to_error(work, hub.url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    closed_s = _seconds_to_error(work, closed)
    return {
        "hub_to_first_search_s": first_search_s,
        "hub_silent_s": silent_s,
        "hub_closed_s": closed_s,
        "hub_unreachable_s": max(silent_s, closed_s),
    }


def _first_search_s(work: Path, env: dict[str, str]) -> float:
    options = ("--model", f"hf-hub:{NAME}", "--no-demo", "--model-store", str(work / "store"))
    began = time.monotonic()
    with live_stack(work / "stack", *options, env=env) as stack:
        stack.wait_ready(START_S)
        search_once(stack, "first")
        return time.monotonic() - began


def search_once(stack: LiveStack, collection: str) -> None:
    """Makes a collection, adds an item, finds it. Raises httpx.HTTPStatusError, or AssertionError for another item."""
    with httpx.Client(base_url=f"{stack.gateway}/v1", timeout=_PATIENCE_S) as http:
        http.put(f"/collections/{collection}", json={}).raise_for_status()
        items = [{"id": "one", "text": "a red circle"}]
        http.post(f"/collections/{collection}/items", json={"items": items}).raise_for_status()
        answer = http.post("/search", json={"collection": collection, "text": "a red circle", "k": 1})
        assert [hit["id"] for hit in answer.raise_for_status().json()["hits"]] == ["one"]


def _seconds_to_error(work: Path, endpoint: str) -> float:
    """Of `archive build`; raises AssertionError when that succeeds or says more than one line."""
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(work / "empty"), "COLUMNS": "1000"}
    command = [str(Path(sys.executable).with_name("clipserve")), "archive", "build", f"hf-hub:{NAME}"]
    began = time.monotonic()
    done = subprocess.run([*command, "--model-store", str(work / "none")], env=env, capture_output=True, text=True)
    taken = time.monotonic() - began
    assert done.returncode != 0, done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return taken
