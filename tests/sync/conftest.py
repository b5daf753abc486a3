"""A gateway in front of fakes, and an S3 server on loopback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clipserve_client import Client
from scripts.sync.changes import Change, Summary
from scripts.sync.manifest import open_manifest
from scripts.sync.opening import open_followed
from scripts.sync.run import SyncOptions, Watcher, sync
from tests.client.conftest import QUICK
from tests.gateway.conftest import Stack, plain_gateway, stack, stack_of, upstreams

__all__ = ["plain_gateway", "stack", "stack_of", "upstreams"]
KEY = {"key": "k", "secret": "s"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, timeout_s=10, retries=QUICK) as made:
        yield made


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """A server that speaks S3, of moto's."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Recorder(Watcher):
    def __init__(self) -> None:
        self.changes: list[Change] = []

    def changed(self, change: Change) -> None:
        self.changes.append(change)

    def told(self, *did: str) -> list[tuple[str, str]]:
        """(what was done, id), without what is unchanged."""
        kinds = did or ("added", "changed", "moved", "removed", "skipped", "failed", "kept")
        return sorted((each.did, each.id) for each in self.changes if each.did in kinds)


def run(
    client: Client, source: Any, storage: dict[str, Any] | None = None, manifest: str | None = None, **options: Any
) -> tuple[Summary, Recorder]:
    recorder = Recorder()
    with (
        closing(open_followed(str(source), storage or {})) as followed,
        closing(open_manifest(manifest, storage or {})) as rows,
    ):
        return sync(client, followed, rows, "photos", SyncOptions(**options), recorder), recorder
