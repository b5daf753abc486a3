"""Questions about the demo's pictures, before the real stack and without a language model."""

from __future__ import annotations

import httpx
import pytest

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
