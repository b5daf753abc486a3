"""`clipserve up --autoscale`, as a user starts it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from scripts.stack.live_stack import live_stack
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.full]


def test_every_endpoint_is_scaled_and_answers(tmp_path: Path) -> None:
    with live_stack(tmp_path, "--autoscale", "--no-demo", env={"CLIPSERVE_SCALER_POLL_INTERVAL_S": "0.5"}) as stack:
        stack.wait_ready()
        scaler = f"http://127.0.0.1:{stack.ports['scaler_port']}"

        def sizes() -> dict[str, int | None]:
            return {each["endpoint"]: each["ready"] for each in httpx.get(f"{scaler}/v1/sizes").json()["sizes"]}

        until(lambda: sizes() == {"clip_text": 1, "clip_image": 1, "clip_multimodal": 1}, 120)
        assert (
            httpx.post(f"{stack.gateway}/v1/embeddings", json={"input": "a red circle"}, timeout=60).status_code == 200
        )
        until(lambda: httpx.get(f"{scaler}/v1/sizes/clip_text").json()["demand"] is not None, 60)
        assert "clip_text" in httpx.get(f"{scaler}/metrics").text
