"""TorchServe as a front door of its own: every form of body, one status a request, searches answered with hits."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from clip_core.wire import decode_vector
from scripts.archive.canary_images import canary_images
from scripts.stack.live_stack import LiveStack
from tests.e2e import grpc_calls
from tests.e2e.conftest import Answer, send
from tests.waiting import settled, until

pytestmark = pytest.mark.e2e
PNG = canary_images()[0][0]


def predict(stack: LiveStack, model: str, body: Any, **headers: str) -> Answer:
    return send("POST", f"{stack.inference}/predictions/{model}", body, **headers)


def only_vector(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.raw
    (item,) = answer.json["data"]
    return decode_vector(item["embedding"], answer.json["dim"])


def test_text_in_every_form_gives_the_same_vector(stack: LiveStack) -> None:
    raw = only_vector(predict(stack, "clip_text", b"a red circle", Content_Type="text/plain"))
    assert abs(np.linalg.norm(raw) - 1) < 1e-5
    for body in ({"input": "a red circle"}, {"input": ["a red circle"]}, {"input": {"text": "a red circle"}}):
        assert np.allclose(only_vector(predict(stack, "clip_text", body)), raw, atol=1e-5)
    assert np.allclose(only_vector(predict(stack, "clip_multimodal", {"input": "a red circle"})), raw, atol=1e-5)


def test_an_image_in_every_form_gives_the_same_vector(stack: LiveStack) -> None:
    raw = only_vector(predict(stack, "clip_image", PNG, Content_Type="application/octet-stream"))
    bare = base64.b64encode(PNG).decode()
    for text in (bare, f"data:image/png;base64,{bare}"):
        for body in ({"input": text}, {"input": {"image": text}}):
            assert np.allclose(only_vector(predict(stack, "clip_image", body)), raw, atol=1e-5)
    assert np.allclose(only_vector(predict(stack, "clip_multimodal", PNG, Content_Type="image/png")), raw, atol=1e-5)


def test_multipart_fields(stack: LiveStack) -> None:
    boundary = "frontier"
    parts = [
        b'Content-Disposition: form-data; name="data"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n' + PNG,
        b'Content-Disposition: form-data; name="search"\r\n\r\n{"collection": "demo", "k": 2}',
    ]
    body = b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + b"--frontier--\r\n"
    answer = predict(stack, "clip_image", body, Content_Type=f"multipart/form-data; boundary={boundary}")
    assert answer.status == 200, answer.raw
    assert len(answer.json["data"][0]["hits"]) == 2


def test_a_list_has_a_status_for_each_item(stack: LiveStack) -> None:
    answer = predict(stack, "clip_text", {"input": ["fine", "", 3, "word " * 10_000]})
    assert answer.status == 200
    items = answer.json["data"]
    assert [item["status"] for item in items] == [200, 400, 400, 200]
    assert items[3]["truncated"] is True
    assert items[3]["tokens"] == 32


@pytest.mark.parametrize(
    ("model", "body", "kind", "status", "code"),
    [
        ("clip_text", b'{"input":', "application/json", 400, "invalid_json"),
        ("clip_text", b"", "text/plain", 400, "bad_input"),
        ("clip_text", b"  ", "text/plain", 400, "invalid_text"),
        ("clip_text", b"\xff\xfe\xfd", "text/plain", 400, "invalid_text"),
        ("clip_text", b'{"input": 3}', "application/json", 400, "bad_input"),
        (
            "clip_text",
            b'{"input": "x", "search": {"collection": "nowhere"}}',
            "application/json",
            404,
            "collection_not_found",
        ),
        (
            "clip_text",
            b'{"input": "x", "search": {"collection": "demo", "k": 0}}',
            "application/json",
            400,
            "bad_input",
        ),
        ("clip_image", b"not an image", "image/png", 400, "invalid_image"),
        ("clip_image", PNG[:100], "application/octet-stream", 400, "invalid_image"),
        ("clip_image", b"", "image/png", 400, "bad_input"),
    ],
)
def test_a_bad_request_has_the_right_status(
    stack: LiveStack, model: str, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = predict(stack, model, body, Content_Type=kind)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)


def test_good_and_bad_requests_at_once_keep_their_own_statuses(stack: LiveStack) -> None:
    texts = [f"scene number {i}" if i % 3 else " " for i in range(60)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda t: predict(stack, "clip_text", {"input": t}), texts))
    assert [answer.status for answer in answers] == [200 if text.strip() else 400 for text in texts]


def test_a_search_straight_at_torchserve(stack: LiveStack) -> None:
    body = {
        "input": ["a large red plain circle", ""],
        "search": {"collection": "demo", "k": 3, "filter": {"color": "red"}},
    }
    good, bad = predict(stack, "clip_text", body).json["data"]
    assert [hit["metadata"]["color"] for hit in good["hits"]] == ["red"] * 3
    scores = [hit["score"] for hit in good["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert bad["status"] == 400


def test_web_pages_get_no_answer(stack: LiveStack) -> None:
    answer = predict(stack, "clip_text", {"input": "a"}, Origin="http://rebound.example")
    assert (answer.status, answer.json["error"]["code"]) == (403, "cross_origin")
    assert predict(stack, "clip_text", {"input": "a"}).status == 200


def test_kserve_v2(stack: LiveStack) -> None:
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a dog", "a red circle"]}
    answer = send("POST", f"{stack.inference}/v2/models/clip_text/infer", {"id": "7", "inputs": [tensor]})
    assert answer.status == 200
    output = answer.json["outputs"][0]
    dim = output["shape"][1]
    raw = only_vector(predict(stack, "clip_text", {"input": "a red circle"}))
    assert np.allclose(output["data"][dim:], raw, atol=1e-5)
    bad = send("POST", f"{stack.inference}/v2/models/clip_text/infer", {"inputs": [{**tensor, "data": ["", "x"]}]})
    assert (bad.status, bad.json["error"]["code"]) == (400, "invalid_text")


def grpc_predict(stack: LiveStack, model: str, parts: dict[str, bytes]) -> Any:
    return json.loads(grpc_calls.predict(stack.ports["grpc_inference_port"], model, parts))


def test_grpc(stack: LiveStack) -> None:
    raw = only_vector(predict(stack, "clip_text", {"input": "a red circle"}))
    body = grpc_predict(stack, "clip_text", {"data": b"a red circle"})
    assert np.allclose(decode_vector(body["data"][0]["embedding"]), raw, atol=1e-5)
    assert len(grpc_predict(stack, "clip_image", {"data": PNG})["data"]) == 1
    found = grpc_predict(stack, "clip_text", {"data": b"a circle", "search": b'{"collection": "demo", "k": 1}'})
    assert len(found["data"][0]["hits"]) == 1


def test_grpc_carries_the_status_in_its_payload(stack: LiveStack) -> None:
    body = grpc_predict(stack, "clip_text", {"data": b" "})
    assert (body["status"], body["error"]["code"]) == (400, "invalid_text")


def shown(stack: LiveStack) -> dict[str, float]:
    """TorchServe's metrics by name with labels, Hostname left out."""
    text = send("GET", f"http://127.0.0.1:{stack.ports['metrics_port']}/metrics").raw.decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {re.sub(r'Hostname="[^"]*",?', "", name): float(value) for name, _, value in lines}


def counted(stack: LiveStack) -> dict[str, float]:
    """The workers' own metrics."""
    return {name: value for name, value in shown(stack).items() if name.startswith("clipserve_")}


def test_torchserve_shows_the_workers_metrics(stack: LiveStack) -> None:
    before = settled(lambda: counted(stack), quiet_s=2.0)  # what came before is reported within a second
    texts = [f"metrics {i} " + "word " * (i % 9) for i in range(8)]
    predict(stack, "clip_text", {"input": [*texts, texts[0], ""]})
    predict(stack, "clip_text", {"input": texts, "search": {"collection": "demo", "k": 1}})
    predict(stack, "clip_image", PNG[:50], Content_Type="image/png")

    def grown(now: dict[str, float], name: str, model: str = "clip_text", more: str = "") -> float:
        key = f'{name}{{ModelName="{model}",{more}}}'
        return now.get(key, 0.0) - before.get(key, 0.0)

    def reported() -> bool:
        now = counted(stack)
        return (grown(now, "clipserve_batches"), grown(now, "clipserve_batches", "clip_image")) == (2, 1)

    until(reported)
    now = settled(lambda: counted(stack), quiet_s=1.0)  # a batch's metrics come one after the other
    assert grown(now, "clipserve_batch_items") == 18
    assert grown(now, "clipserve_cache_hits") == 8
    assert grown(now, "clipserve_pass_items", more='Kind="text",') == 8
    padding = grown(now, "clipserve_padding_tokens", more='Kind="text",')
    assert 0 < padding < grown(now, "clipserve_tokens", more='Kind="text",')
    assert grown(now, "clipserve_errors", more='Code="invalid_text",') == 1
    assert grown(now, "clipserve_errors", "clip_image", 'Code="invalid_image",') == 1
    assert grown(now, "clipserve_encode_seconds_count") == 2
    assert grown(now, "clipserve_search_seconds_count") == 1
    held = [value for name, value in now.items() if name.startswith("clipserve_cache_bytes")]
    assert len(held) >= 1
    assert max(held) > 8 * 1024
    assert any(name.startswith("ts_queue_latency_microseconds") for name in shown(stack))
