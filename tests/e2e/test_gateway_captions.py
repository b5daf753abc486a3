"""Captions through the gateway, by a captioner behind a real TorchServe: whole, streamed, and after a kill."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from gateway.app import build
from gateway.connections.protocol import guarded
from gateway.settings import GatewaySettings
from scripts.stack.up_settings import UpSettings
from tests.clip_core.test_caption_handler import png
from tests.e2e.test_captions import LONG, metric, served
from tests.gateway.fakes import serving
from tests.waiting import until

__all__ = ["served"]
pytestmark = pytest.mark.e2e
URL = "/v1/captions"


@pytest.fixture(scope="module")
def gateway(served: UpSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    ports = {"torchserve": served.inference_port, "management": served.management_port, "metrics": served.metrics_port}
    urls: Any = {f"{name}_url": f"http://127.0.0.1:{port}" for name, port in ports.items()}
    settings = GatewaySettings(**urls, index_url="http://127.0.0.1:9", data_dir=tmp_path_factory.mktemp("gateway"))
    with (
        serving(build(settings), lifespan="on", http=guarded(10, 1024)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def image(place: int = 0) -> str:
    return base64.b64encode(png(place)).decode()


def data_of(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_whole_streamed_and_scored(gateway: httpx.Client) -> None:
    asked = {"image": image(), "method": "greedy", "max_tokens": 30, "min_tokens": 20}
    whole = gateway.post(URL, json=asked)
    assert whole.status_code == 200, whole.text
    (told,) = whole.json()["data"]
    *chunks, last = data_of(gateway.post(URL, json={**asked, "stream": True}).text)
    assert len(chunks) > 1
    assert last["text"] == told["text"]
    assert "".join(chunk["delta"] for chunk in chunks).strip() == told["text"].strip()
    several = gateway.post(URL, json={**asked, "images": [image(0), "AAAA", image(1)], "image": None}).json()["data"]
    assert [each["object"] for each in several] == ["caption", "error", "caption"]
    scored = gateway.post(f"{URL}/score", json={"image": image(), "texts": ["red circle", "two blue squares"]})
    assert all(each["logprob"] < 0 for each in scored.json()["data"][0]["scores"])
    beams = gateway.post(URL, json={"image": image(), "n": 2}).json()["data"][0]
    assert len(beams["alternatives"]) == 1


def test_drafts_change_no_caption_and_an_index_that_is_down_spoils_none(
    gateway: httpx.Client, served: UpSettings
) -> None:
    asked = {"method": "greedy", "max_tokens": 30, "min_tokens": 20}
    worker = f"http://127.0.0.1:{served.inference_port}/predictions/clip_caption"
    plain = httpx.post(worker, json={"image": image(), "caption": asked}, timeout=60).json()
    (caption,) = plain["captions"]
    drafted = {"image": image(), "caption": asked, "drafts": [caption["text"]]}
    told = httpx.post(worker, json=drafted, timeout=60).json()
    assert [each["text"] for each in told["captions"]] == [caption["text"]]
    assert set(told["drafts"]) in ({"off"}, {"drafted", "accepted", "passes", "guarded"})
    answer = gateway.post(URL, json={"image": image(), **asked, "drafts": {"collection": "demo"}}).json()
    assert answer["data"][0]["text"] == caption["text"]
    assert answer["timing"]["drafts"] not in ([], ["used"])


@pytest.mark.parametrize(
    ("asked", "param"),
    [({"max_tokens": 5000}, "max_tokens"), ({"max_tokens": 4096}, "max_tokens"), ({"prompt": "red " * 1600}, "prompt")],
)
def test_settings_that_the_worker_refuses(gateway: httpx.Client, asked: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        answer = gateway.post(URL, json={"image": image(), "stream": stream, **asked})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_client_that_leaves_frees_its_rows_while_others_go_on(gateway: httpx.Client, served: UpSettings) -> None:
    asked = {"image": image(), "stream": True, "method": "greedy", **LONG}
    left = metric(served, "clipserve_captions_cancelled")
    with gateway.stream("POST", URL, json=asked) as stays:
        others = stays.iter_text()
        next(others)
        with gateway.stream("POST", URL, json=asked) as leaves:
            pieces = leaves.iter_text()  # httpx closes the connection of one that nobody holds
            next(pieces)
            until(lambda: metric(served, "clipserve_caption_rows") == 2)
        until(lambda: metric(served, "clipserve_captions_cancelled") == left + 1)
        assert metric(served, "clipserve_caption_rows") == 1
        next(others)
    until(lambda: metric(served, "clipserve_caption_rows") == 0)


def test_a_killed_worker_is_an_event(gateway: httpx.Client, served: UpSettings) -> None:
    described = httpx.get(f"http://127.0.0.1:{served.management_port}/models/clip_caption").json()
    asked = {"image": image(), "stream": True, "method": "greedy", **LONG}
    with gateway.stream("POST", URL, json=asked) as answer:
        pieces = answer.iter_text()
        text = next(pieces)
        psutil.Process(described[0]["workers"][0]["pid"]).kill()
        text += "".join(pieces)
    assert "event: error" in text
    assert data_of(text)[-1]["error"]["code"] == "worker_lost"
    assert text.endswith("data: [DONE]\n\n")
    until(lambda: gateway.post(URL, json={"image": image(), "method": "greedy"}).status_code == 200)
