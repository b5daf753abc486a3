"""The gateway of tests/gateway, in front of its fakes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clipserve_client import Client, Retries
from tests.gateway.conftest import Stack, plain_gateway, stack, stack_of, upstreams

__all__ = ["plain_gateway", "stack", "stack_of", "upstreams"]
QUICK = Retries(max_retries=4, initial_backoff_s=0.01, max_backoff_s=0.02)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, timeout_s=10, retries=QUICK) as made:
        yield made
