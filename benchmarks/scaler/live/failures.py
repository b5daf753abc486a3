"""Workers that are lost while a part is away: the scaler, the gateway with its metrics, TorchServe itself."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx

from benchmarks.lib.repeating import repeating
from benchmarks.lib.waiting import until
from benchmarks.scaler.live.stack import ENDPOINT, WaitingStack, waiting_stack
from scripts.processes.stack_process import StackProcess

_CLIENTS = 2  # always busy: two busy workers, and the target of 50 % wants four
_WANTED, _MOST = 4, 6
_AWAY_S = 6.0
_PATIENCE_S = 90.0


def run() -> dict[str, int]:
    """Part → workers lost while it was away, or after it was back."""
    with tempfile.TemporaryDirectory(prefix="clipserve-bench-") as work, waiting_stack(Path(work), 1) as stack:
        stack.start_scaler(
            min_replicas=1,
            max_replicas=_MOST,
            target_utilization=0.5,
            stabilization_window_s=20,
            poll_interval_s=0.5,
            data_dir=Path(work) / "past",
        )
        with _clients(stack):
            until(lambda: _workers(stack) >= _WANTED, _PATIENCE_S, lambda: "the workers did not become four")
            return {
                "scaler": _lost(stack, "scaler"),
                "gateway": _lost(stack, "gateway"),
                "TorchServe": _lost(stack, "TorchServe"),
            }


def _lost(stack: WaitingStack, name: str) -> int:
    """The part is killed, is away for a while, and is started again.

    While it is away nothing may be taken away; after that what the demand asks for must come back.
    """
    part, before = _part(stack, name), _workers(stack)
    part.kill()
    time.sleep(_AWAY_S)
    during = before if name == "TorchServe" else _workers(stack)
    part.start()

    def missing() -> int:
        return min(before, _wanted(stack)) - _workers(stack)

    with contextlib.suppress(RuntimeError):
        until(lambda: missing() <= 0, _PATIENCE_S, lambda: "some are missing")
    return max(0, before - during, missing())


def _part(stack: WaitingStack, name: str) -> StackProcess:
    return next(part for part in stack.parts.parts if part.name == name)


def _workers(stack: WaitingStack) -> int:
    """Those that serve; 0 while TorchServe does not answer."""
    try:
        answer = httpx.get(f"{stack.management}/models/{ENDPOINT}", timeout=5).json()
        return sum(worker["status"] == "READY" for worker in answer[0]["workers"])
    except (httpx.HTTPError, ValueError, LookupError):
        return 0


def _wanted(stack: WaitingStack) -> int:
    """The size that the scaler decided on; no bound while it does not answer."""
    try:
        return int(httpx.get(f"http://127.0.0.1:{stack.scaler_port}/v1/sizes/{ENDPOINT}", timeout=5).json()["size"])
    except (httpx.HTTPError, ValueError, LookupError):
        return _MOST


def _ask(client: httpx.Client) -> None:
    try:
        client.post("/v1/embeddings", json={"input": "a text"})
    except httpx.HTTPError:
        time.sleep(0.1)


@contextlib.contextmanager
def _clients(stack: WaitingStack) -> Iterator[None]:
    """Each with its next request as soon as it has an answer, whatever that is."""
    with contextlib.ExitStack() as clients:
        for _ in range(_CLIENTS):
            client = clients.enter_context(httpx.Client(base_url=stack.gateway, timeout=30))
            clients.enter_context(repeating(partial(_ask, client)))
        yield
