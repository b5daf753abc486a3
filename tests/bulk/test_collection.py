"""A run that fills a collection."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from rich.console import Console

from clipserve_client import Client
from clipserve_client.ingest.results import Result
from scripts.bulk.output.run_folder import Output
from scripts.bulk.run import Ended
from scripts.bulk.sending import Sender
from scripts.bulk.shards.errors import BulkRefused
from scripts.bulk.summary import totals
from scripts.bulk.telling import conclude
from tests.bulk.conftest import Bulk, jpeg
from tests.client.conftest import QUICK
from tests.gateway import fake_index, fakes
from tests.gateway.conftest import Stack, plain_gateway, stack, stack_of, upstreams
from tests.sync.conftest import run as sync

__all__ = ["plain_gateway", "stack", "stack_of", "upstreams"]


@pytest.fixture(autouse=True)
def serve_the_tiny_models_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fakes, fake_index):
        monkeypatch.setattr(module, "DIM", 32)


def sender(client: Client, fingerprint: str) -> Callable[[Output], Sender]:
    return lambda output: Sender(client, "photos", fingerprint, output, "p/")


def test_vectors_go_into_a_collection_once(bulk: Bulk, photos: Path, stack: Stack) -> None:
    with Client(stack.url) as client:
        bulk(photos, sender=sender(client, "fp-demo"))
        items = stack.index.collections["photos"]["items"]
        assert set(items) == {f"p/{name}" for name in bulk.rows()}
        assert items["p/p0.jpg"]["metadata"]["caption"] == "a caption"
        del items["p/p0.jpg"]
        bulk(photos, sender=sender(client, "fp-demo"))
        assert "p/p0.jpg" not in items, "what was sent is not sent again"


def test_a_collection_that_was_made_anew_is_filled_again(bulk: Bulk, photos: Path, stack: Stack) -> None:
    with Client(stack.url) as client:
        bulk(photos, sender=sender(client, "fp-demo"))
        anew = stack.index.collections["photos"]
        anew["items"].clear()
        anew["spec"]["created"] = "2026-01-01T00:00:00Z"
        bulk(photos, sender=sender(client, "fp-demo"))
        assert set(anew["items"]) == {f"p/{name}" for name in bulk.rows()}
        bulk(photos, sender=lambda output: Sender(client, "photos", "fp-demo", output, "q/"))
        assert len(anew["items"]) == 20, "another prefix, other items"


def test_what_the_collection_does_not_take_is_named(bulk: Bulk, photos: Path, stack: Stack) -> None:
    deep = photos / "/".join(["d" * 200] * 3)
    deep.mkdir(parents=True)
    (photos / "p0.jpg").rename(deep / "p0.jpg")
    with Client(stack.url) as client:
        ended, _ = bulk(photos, sender=sender(client, "fp-demo"))
    assert ([each.code for each in ended.refused], ended.collection) == (["id too long"], "photos: 9 sent, 1 refused")


def test_refused_ids_do_not_reach_the_terminal_raw() -> None:
    console = Console(file=io.StringIO(), width=100)
    refused = [Result("a\x1b[31m\nb", "failed", "invalid_id", "no control characters")]
    conclude(Ended(totals([], 0, 1.0, 0), [], [], refused=refused), "out", console)
    assert "refused a\\x1b[31m\\nb: no control characters\n" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_collection_of_another_model_is_refused(bulk: Bulk, photos: Path, stack: Stack) -> None:
    with Client(stack.url) as client, pytest.raises(BulkRefused, match="fingerprint"):
        bulk(photos, sender=sender(client, "0123456789abcdef"))


def test_items_without_a_picture_go_in_by_their_text(bulk: Bulk, tmp_path: Path, stack: Stack) -> None:
    rows = [{"id": "a", "image": jpeg(1), "text": "a star"}, {"id": "b", "image": None, "text": "a dot"}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    with Client(stack.url) as client:
        bulk(tmp_path / "t.parquet", embed="both", sender=sender(client, "fp-demo"))
    items = stack.index.collections["photos"]["items"]
    told = bulk.rows()
    assert abs(items["p/a"]["vector"] - told["a"]["vector"]).max() < 1e-6
    assert abs(items["p/b"]["vector"] - told["b"]["text_vector"]).max() < 1e-6


def test_a_sync_goes_on_where_bulk_ended(bulk: Bulk, photos: Path, stack: Stack) -> None:
    """The items become its own, and nothing is encoded again."""
    with Client(stack.url, timeout_s=10, retries=QUICK) as client:
        bulk(photos, sender=lambda output: Sender(client, "photos", "fp-demo", output, ""))
        items = stack.index.collections["photos"]["items"]
        vectors = {name: item["vector"] for name, item in items.items()}
        (photos / "p2.jpg").write_bytes(jpeg(99))
        stack.torchserve.calls.clear()
        summary, seen = sync(client, photos)
        assert (summary.counts, summary.reused) == ({"changed": 9, "failed": 1}, 9)
        assert seen.told("failed") == [("failed", "p2.jpg")], "it changed before anybody knew whose it is"
        assert [endpoint for endpoint, _ in stack.torchserve.calls if endpoint != "clip_text"] == []
        assert all(abs(item["vector"] - vectors[name]).max() < 1e-6 for name, item in items.items())
        assert items["p0.jpg"]["metadata"]["year"] == 2024
        (photos / "p4.jpg").unlink()
        assert sync(client, photos)[1].told("added", "changed", "removed") == [("removed", "p4.jpg")]
