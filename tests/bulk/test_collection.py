"""A run that fills a collection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clipserve_client import Client
from scripts.bulk.output.run_folder import Output
from scripts.bulk.sending import Sender
from scripts.bulk.shards.errors import BulkRefused
from tests.bulk.conftest import Bulk
from tests.gateway import fakes
from tests.gateway.conftest import Stack, plain_gateway, stack, stack_of, upstreams

__all__ = ["plain_gateway", "stack", "stack_of", "upstreams"]


def sender(client: Client, fingerprint: str) -> Callable[[Output], Sender]:
    return lambda output: Sender(client, "photos", fingerprint, output, "p/")


def test_vectors_go_into_a_collection_once(
    bulk: Bulk, photos: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes, "DIM", 32)  # the tiny model's
    with Client(stack.url) as client:
        bulk(photos, sender=sender(client, "fp-demo"))
        items = stack.index.collections["photos"]["items"]
        assert set(items) == {f"p/{name}" for name in bulk.rows()}
        assert items["p/p0.jpg"]["metadata"]["caption"] == "a caption"
        del items["p/p0.jpg"]
        bulk(photos, sender=sender(client, "fp-demo"))
        assert "p/p0.jpg" not in items, "what was sent is not sent again"


def test_a_collection_of_another_model_is_refused(bulk: Bulk, photos: Path, stack: Stack) -> None:
    with Client(stack.url) as client, pytest.raises(BulkRefused, match="fingerprint"):
        bulk(photos, sender=sender(client, "0123456789abcdef"))
