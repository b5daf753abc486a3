"""A second model beside the first: what it costs in failed requests, memory and speed."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.models.from_hub import search_once
from benchmarks.stack.ready_stack import START_S, UNCACHED
from scripts.models.management import Management
from scripts.models.memory import resident
from scripts.models.row_store import KINDS
from scripts.stack.live_stack import LiveStack, live_stack
from scripts.tune.load import together

CLIENTS, USERS = 16, 4
_TEXTS = [f"a photo of {number} small things" for number in range(2000)]


def beside_figures(work: Path, first: Path, second: Path, rounds: int, seconds: float) -> dict[str, float]:
    """`rounds` times: the first model alone, the second added under load, both, the second removed."""
    models = [_quick_model(work / name, weights) for name, weights in (("first", first), ("second", second))]
    alone: list[float] = []
    beside: list[float] = []
    memory: list[float] = []
    statuses: list[int] = []
    options = ("--model", str(models[0]), "--no-demo", "--model-store", str(work / "store"))
    with live_stack(work / "stack", *options, env=UNCACHED) as stack:
        stack.wait_ready(START_S)
        search_once(stack, "first")
        for _ in range(rounds):
            alone.append(_texts_per_s(stack, seconds))
            with _users(stack) as answers:
                _model(stack, "add", str(models[1]), "--model-store", str(work / "store"))
            statuses += answers
            memory.append(_memory(stack, "second") / _memory(stack, "clip"))
            beside.append(_texts_per_s(stack, seconds))
            with _users(stack) as answers:
                _model(stack, "remove", "second", "--index-url", stack.index)
            statuses += answers
    return {
        "requests_while_adding": len(statuses),
        "failed_requests_while_adding": sum(status != 200 for status in statuses),
        "memory_second_over_first": statistics.median(memory),
        "texts_per_s_alone": statistics.median(alone),
        "texts_per_s_beside": statistics.median(beside),
        "texts_per_s_beside_over_alone": statistics.median(beside) / statistics.median(alone),
    }


def _quick_model(folder: Path, weights: Path) -> Path:
    """A model.yaml that needs no build in the background: fp32, not compiled."""
    folder.mkdir(parents=True)
    settings = {"name": folder.name, "checkpoint": str(weights), "precision": "fp32", "compile": False}
    (folder / "model.yaml").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _texts_per_s(stack: LiveStack, seconds: float) -> float:
    url, bodies = f"{stack.gateway}/v1/embeddings", [{"input": text, "model": "first"} for text in _TEXTS]
    together(url, bodies, CLIENTS, seconds / 4)
    return together(url, bodies, CLIENTS, seconds).rate


@contextmanager
def _users(stack: LiveStack) -> Iterator[list[int]]:
    """Embeddings and searches of the first model without a pause; their statuses, 0 for a lost connection."""
    over, statuses = threading.Event(), list[int]()

    def use(number: int) -> None:
        with httpx.Client(base_url=f"{stack.gateway}/v1", timeout=60) as http:
            while not over.is_set():
                statuses.append(_status(_embed if number % 2 else _search, http))

    with ThreadPoolExecutor(USERS) as pool:
        running = [pool.submit(use, number) for number in range(USERS)]
        try:
            yield statuses
        finally:
            over.set()
        for future in running:
            future.result()


def _embed(http: httpx.Client) -> httpx.Response:
    return http.post("/embeddings", json={"input": _TEXTS[:4], "model": "first"})


def _search(http: httpx.Client) -> httpx.Response:
    return http.post("/search", json={"collection": "first", "text": _TEXTS[0], "k": 1})


def _status(call: Callable[[httpx.Client], httpx.Response], http: httpx.Client) -> int:
    try:
        return call(http).status_code
    except httpx.RequestError:
        return 0


def _model(stack: LiveStack, *command: str) -> None:
    """`clipserve model …` for this stack. Raises RuntimeError with what it printed."""
    urls = ["--management-url", f"http://127.0.0.1:{stack.ports['management_port']}"]
    urls += ["--inference-url", stack.inference, "--data-dir", str(stack.data_dir)]
    program = str(Path(sys.executable).with_name("clipserve"))
    done = subprocess.run([program, "model", *command, *urls], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def _memory(stack: LiveStack, prefix: str) -> int:
    """Proportional set sizes of the workers of a model's three endpoints, in bytes."""
    torchserve = Management(f"http://127.0.0.1:{stack.ports['management_port']}", stack.inference)
    pids = [pid for kind in KINDS for pid in torchserve.worker_pids(f"{prefix}_{kind}")]
    return sum(resident(pid) or 0 for pid in pids)
