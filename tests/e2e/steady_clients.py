"""Clients that ask a stack without a pause, while something else happens to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from scripts.stack.live_stack import LiveStack
from tests.e2e.conftest import send


@contextmanager
def steady_clients(
    stack: LiveStack, requests: Sequence[tuple[str, Any]], clients: int
) -> Iterator[list[tuple[int, bytes]]]:
    """Each posts a (path, body) of `requests` again and again; statuses, each with its body unless it is 200."""
    done, answers = threading.Event(), list[tuple[int, bytes]]()

    def client(path: str, body: Any) -> None:
        while not done.is_set():
            answer = send("POST", stack.gateway + path, body)
            answers.append((answer.status, b"" if answer.status == 200 else answer.raw[:300]))

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, *requests[number % len(requests)]) for number in range(clients)]
        try:
            yield answers
        finally:
            done.set()
        for future in running:
            future.result()
