"""Questions about the demo's pictures, before the real stack and without a language model."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from benchmarks.lib.serving import serving
from gateway.app import build
from gateway.settings import GatewaySettings
from scripts.stack.live_stack import LiveStack

pytestmark = pytest.mark.e2e


def test_how_many_and_where(stack: LiveStack) -> None:
    body = {"collection": "demo", "question": "How many red circles are there, and where?"}
    said = httpx.post(f"{stack.gateway}/v1/ask", json=body, timeout=60).raise_for_status().json()
    assert (said["found"], said["by"], said["kind"]) == (True, "offline", "count")
    assert said["citations"]
    for each in said["citations"]:
        assert {"red", "circle"} <= {word.removesuffix("s") for word in each["caption"].split()}


def test_what_no_picture_shows(stack: LiveStack) -> None:
    blue_stars = {"color": "blue", "shape": "star", "objects": 1}
    body = {"collection": "demo", "question": "Is there a red circle?", "filter": blue_stars}
    said = httpx.post(f"{stack.gateway}/v1/ask", json=body, timeout=60).raise_for_status().json()
    assert said["hits"]
    assert (said["answer"], said["found"], said["citations"]) == ("No: not in these pictures.", False, [])


@pytest.fixture(scope="module", params=["chat", "responses"])
def by_our_captioner(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    """A gateway whose language model is the captioner of the stack: the same client as for any provider, offline."""
    settings = GatewaySettings(
        torchserve_url=stack.inference,
        management_url=f"http://127.0.0.1:{stack.ports['management_port']}",
        index_url=stack.index,
        data_dir=tmp_path_factory.mktemp("asking"),
        image_roots={"demo": stack.data_dir / "demo" / "gallery"},
        llm_url=f"{stack.gateway}/v1",
        llm_model="demo",
        llm_api=request.param,
    )
    with serving(build(settings), "on") as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_our_captioner_captions_through_the_client_of_language_models(
    by_our_captioner: httpx.Client, stack: LiveStack
) -> None:
    item = {"collection": "demo", "id": "scene-0007"}
    said = by_our_captioner.post("/v1/captions/llm", json={"images": [item]}).raise_for_status().json()
    own = httpx.post(f"{stack.gateway}/v1/captions", json={"image": item}, timeout=60).json()
    assert said["data"][0]["text"] == own["data"][0]["text"]


def test_our_captioner_answers_through_it(by_our_captioner: httpx.Client) -> None:
    body = {"collection": "demo", "question": "Which of these pictures show a red circle?", "k": 6}
    said = by_our_captioner.post("/v1/ask", json=body).raise_for_status().json()
    assert said["found"]
    assert said["usage"]["pictures"] > 0, "it was asked"
    for each in said["citations"]:
        assert {"red", "circle"} <= {word.removesuffix("s") for word in each["caption"].split()}
