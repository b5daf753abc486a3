"""The captioner behind a real TorchServe: streams over HTTP and gRPC, clients that leave, a worker that is killed."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from scripts.archive.build import stage_folder
from scripts.stack.up_settings import UpSettings
from scripts.tune.trial_server import torchserve_alone
from tests.clip_core.test_caption_handler import png, write_talkative
from tests.e2e import grpc_calls
from tests.waiting import until

pytestmark = pytest.mark.e2e
CONTEXT = 1500  # tokens: a caption as long as that takes seconds
LONG = {"max_tokens": CONTEXT, "min_tokens": CONTEXT - 1}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpSettings]:
    """TorchServe with a tiny captioner of random weights."""
    staged = tmp_path_factory.mktemp("staged")
    stage_folder(str(_talkative(tmp_path_factory.mktemp("captioner"))), "caption", staged, captioner_compile=False)
    config = {**yaml.safe_load((staged / "model-config.yaml").read_text()), "threads": 1}
    with torchserve_alone(_archive(staged), "caption", config) as settings:
        yield settings


def _talkative(folder: Path) -> Path:
    """With a long context."""
    write_talkative(folder, context_length=CONTEXT)
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["multimodal_cfg"]["context_length"] = CONTEXT
    path.write_text(json.dumps(config))
    return folder


def _archive(staged: Path) -> Path:
    """As TorchServe unpacks it."""
    folder = staged / "files"
    (folder / "MAR-INF").mkdir()
    (staged / "caption_handler.py").rename(folder / "caption_handler.py")
    model = {"modelName": "clip_caption", "handler": "caption_handler.py", "modelVersion": "1.0"}
    manifest = {"createdOn": "", "runtime": "python", "model": {**model, "configFile": "model-config.yaml"}}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def client(served: UpSettings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{served.inference_port}", timeout=30) as client:
        yield client


PATH = "/predictions/clip_caption"


def body(place: int = 0, stream: bool = False, **caption: Any) -> dict[str, Any]:
    settings = {"method": "greedy", "max_tokens": 60, "min_tokens": 50, **caption}
    return {"image": base64.b64encode(png(place)).decode(), "caption": settings, "stream": stream}


def text_of(answer: Any) -> str:
    return str(answer["captions"][0]["text"])


def metric(served: UpSettings, name: str) -> float:
    """Summed over the workers."""
    text = httpx.get(f"http://127.0.0.1:{served.metrics_port}/metrics").text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name}{{"))


def test_plain_and_streamed_captions_are_alike(client: httpx.Client, served: UpSettings) -> None:
    plain = client.post(PATH, json=body())
    assert (plain.status_code, plain.headers["content-type"]) == (200, "application/json")
    assert "content-length" in plain.headers
    with client.stream("POST", PATH, json=body(stream=True)) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert len(text_of(plain.json())) > 50
    assert text_of(lines[-1]) == text_of(plain.json())
    assert "".join(line["delta"] for line in lines[:-1]) == lines[-1]["captions"][0]["text"]
    assert len(lines) > 8, "words come a few at a time"
    payload = json.dumps(body(stream=True)).encode()
    pieces = b"".join(grpc_calls.stream(served.grpc_inference_port, "clip_caption", {"data": payload}))
    assert text_of(json.loads(pieces.splitlines()[-1])) == text_of(plain.json())
    whole = grpc_calls.predict(served.grpc_inference_port, "clip_caption", {"data": json.dumps(body()).encode()})
    assert text_of(json.loads(whole)) == text_of(plain.json())


def test_good_and_bad_at_once_keep_their_own_statuses(client: httpx.Client) -> None:
    broken = {"image": base64.b64encode(png(0)[:80]).decode(), "stream": True}
    bodies = [body(0), broken, body(1, stream=True), body(2, max_tokens=10**6), body(3, max_tokens=0), body(4)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda sent: client.post(PATH, json=sent), bodies))
    assert [answer.status_code for answer in answers] == [200, 400, 200, 400, 400, 200]
    assert answers[1].json()["error"]["param"] == "image"
    assert text_of(answers[5].json()) == text_of(client.post(PATH, json=body(4)).json())


def test_a_client_that_leaves_frees_its_rows(client: httpx.Client, served: UpSettings) -> None:
    left = metric(served, "clipserve_captions_cancelled")
    with client.stream("POST", PATH, json=body(stream=True, **LONG)) as answer:
        lines = answer.iter_lines()  # httpx closes the connection of one that nobody holds
        next(lines)
        until(lambda: metric(served, "clipserve_caption_rows") == 1)
    until(lambda: metric(served, "clipserve_caption_rows") == 0)
    assert metric(served, "clipserve_caption_cache_bytes") == 0
    until(lambda: metric(served, "clipserve_captions_cancelled") == left + 1)


def test_a_worker_that_is_killed_in_mid_stream_is_seen(client: httpx.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        plain = pool.submit(client.post, PATH, json=body(1, **LONG))
        lines: list[str] = []
        with client.stream("POST", PATH, json=body(stream=True, **LONG)) as answer:
            received = answer.iter_lines()
            lines.append(next(received))
            _worker().kill()
            with contextlib.suppress(httpx.TransportError):
                lines += received
    assert not any("done" in line for line in lines), "what was broken off is not taken for a whole caption"
    assert plain.result().status_code >= 500

    def again() -> bool:
        return client.post(PATH, json=body()).status_code == 200

    until(again, 60)


def _worker() -> psutil.Process:
    children = psutil.Process().children(recursive=True)
    return next(each for each in children if "model_service_worker" in " ".join(each.cmdline()))
