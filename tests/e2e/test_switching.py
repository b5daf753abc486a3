"""Another model than last time, on the same data: what the old one made waits for it and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clipserve_client import Client, NewItem
from clipserve_client.errors import FingerprintMismatch
from scripts.stack.live_stack import LiveStack, live_stack

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(900)]  # three starts
CONFIG = """
optimisation: {{compile: false}}
batching:
  text: {{batchSize: 9, maxBatchDelay: 7, jobQueueSize: 33, minWorkers: 1, max_inputs: 5}}
gateway: {{max_inputs: 11}}
up: {{demo: no, model_store: {store}}}
"""


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[LiveStack, Client]]:
    """On the same data folder, by a configuration file."""
    config = folder / "clipserve.yaml"
    config.write_text(CONFIG.format(store=folder / f"store{len(options)}"), encoding="utf-8")
    with live_stack(folder, "--config", str(config), *options) as stack:
        stack.wait_ready()
        with Client(stack.gateway) as client:
            yield stack, client


def statuses(client: Client) -> dict[str, str | None]:
    return {each.name: each.model_status for each in client.collections()}


def test_collections_wait_for_their_model_and_come_back(tmp_path: Path, checkpoint: Path) -> None:
    with served(tmp_path) as (stack, client):
        of_endpoint = _endpoint(stack)
        client.create_collection("shapes-v1")
        client.set_alias("shapes", "shapes-v1")
        client.add("shapes-v1", [NewItem("a", text="a red star"), NewItem("b", text="a blue circle")])
        vector = client.embed(["a red star"]).vectors[0]
        assert client.search("shapes", "a red star", k=1).hits[0].id == "a"
    assert {"batchSize": 9, "maxBatchDelay": 7}.items() <= of_endpoint.items()

    with served(tmp_path, "--checkpoint", str(checkpoint)) as (stack, client):
        assert "waiting shapes-v1 (2 items, alias shapes) for its model demo" in stack.text()
        assert statuses(client) == {"shapes-v1": "not_served"}
        with pytest.raises(FingerprintMismatch, match=r"clipserve up --model demo(?s:.*)clipserve reindex shapes-v1"):
            client.search("shapes", "a red star")
        assert client.search("shapes", vector=vector, k=1).hits[0].id == "a"
        assert [item.id for item in client.items("shapes")] == ["a", "b"]
        client.delete_items("shapes-v1", ids=["b"])

    with served(tmp_path) as (stack, client):
        assert "waiting" not in stack.text().partition("waiting for")[0]
        assert statuses(client) == {"shapes-v1": "served"}
        assert [hit.id for hit in client.search("shapes", "a red star", k=5).hits] == ["a"]


def _endpoint(stack: LiveStack) -> dict[str, Any]:
    from scripts.public_api import PublicApi

    management = PublicApi(f"http://127.0.0.1:{stack.ports['management_port']}")
    described: dict[str, Any] = management.call("GET", "/models/clip_text")[0]
    return described
