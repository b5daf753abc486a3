"""A swap under load: a real TorchServe, sixteen clients, two new versions, and not one failed request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clip_core.errors import FingerprintMismatch
from scripts.archive.build import build
from scripts.archive.places import MODEL_STORE
from scripts.models.management import Management
from scripts.models.model_swap import Swap
from scripts.public_api import PublicApi
from scripts.stack.live_stack import LiveStack, live_stack
from scripts.stack.torchserve import ENDPOINTS
from tests.e2e.steady_clients import steady_clients
from tests.e2e.test_gateway import png

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(900)]  # workers start beside steady clients
CLIENTS = 16


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack whose model may change, with vectors computed every time."""
    with live_stack(tmp_path_factory.mktemp("swap"), env={"CLIPSERVE_HANDLER_CACHE": "false"}) as stack:
        stack.wait_ready()
        yield stack


def swap_on(stack: LiveStack, folder: Path) -> Swap:
    management = Management(f"http://127.0.0.1:{stack.ports['management_port']}", stack.inference)
    return Swap(management, PublicApi(stack.index), {e: folder / f"{e}.mar" for e in ENDPOINTS}, MODEL_STORE)


def test_no_request_fails(own: LiveStack) -> None:
    image = png()
    requests: list[tuple[str, Any]] = [
        ("/v1/embeddings", {"input": ["a red circle", {"image": image}]}),
        ("/v1/search", {"collection": "demo", "text": "a star", "k": 3}),
        ("/v1/search", {"collection": "demo", "query": [{"text": "a star"}, {"image": image}], "k": 3}),
    ]
    with steady_clients(own, requests, CLIENTS) as answers:
        versions = [swap_on(own, MODEL_STORE).run()["clip_text"] for _ in range(2)]
    assert float(versions[1]) == float(versions[0]) + 1
    assert len(answers) > 200
    assert set(answers) == {(200, b"")}
    management = swap_on(own, MODEL_STORE).torchserve
    for endpoint in ENDPOINTS:
        assert [each["modelVersion"] for each in management.versions(endpoint)] == [versions[1]]


def test_another_model_is_refused_before_anything_changes(own: LiveStack, checkpoint: Path, tmp_path: Path) -> None:
    build("demo", checkpoint=checkpoint, model_store=tmp_path)
    swap = swap_on(own, tmp_path)
    before = [swap.torchserve.versions(endpoint) for endpoint in ENDPOINTS]
    with pytest.raises(FingerprintMismatch, match=r"demo \(\d+ items\)"):
        swap.run()
    after = [swap.torchserve.versions(endpoint) for endpoint in ENDPOINTS]
    assert [[each["modelVersion"] for each in endpoint] for endpoint in after] == [
        [each["modelVersion"] for each in endpoint] for endpoint in before
    ]
