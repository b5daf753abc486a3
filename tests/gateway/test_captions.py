"""Captions and scores over HTTP: one picture, several, forms, URLs, items; errors and limits; streams."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.gateway.conftest import Stack
from tests.gateway.fakes import picture, picture_uri
from tests.waiting import until

CAT, DOG = picture_uri("cat"), picture_uri("dog")
BROKEN = "data:image/png;base64,AAAA"
URL = "/v1/captions"


def events(content: str) -> list[Any]:
    """Of a stream's body: (the event's name, its data)."""
    told: list[Any] = []
    for block in filter(None, content.split("\n\n")):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        told.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return told


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    told = answer.json()["error"]
    return answer.status_code, told["code"], told["param"]


def test_a_picture(stack: Stack) -> None:
    answer = stack.post(URL, {"image": CAT, "method": "beam", "n": 2})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    timing = body.pop("timing")
    assert body == {
        "object": "list",
        "data": [
            {
                "object": "caption",
                "index": 0,
                "text": "a picture of cat",
                "logprob": -0.5,
                "finish_reason": "stop",
                "alternatives": [{"text": "a picture of cat 1", "logprob": -2.0, "finish_reason": "stop"}],
            }
        ],
        "model": "demo",
        "fingerprint": "fp-captioner",
        "usage": {"prompt_tokens": 0, "caption_tokens": 4, "image_tokens": 50},
    }
    assert timing["queue_ms"] == 1.5
    assert timing["total_ms"] >= timing["caption_ms"] > 0
    assert "caption;dur=" in answer.headers["Server-Timing"]
    (sent,) = stack.torchserve.captioner.bodies
    assert sent["caption"] == {"method": "beam", "n": 2}  # the rest has the worker's defaults
    assert sent["stream"] is False


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {}),
        ({"temperature": 0.5}, {"temperature": 0.5, "method": "sample"}),
        ({"seed": 7, "method": "greedy"}, {"seed": 7, "method": "greedy"}),
        ({"prompt": "a photo of ", "max_tokens": 12}, {"prompt": "a photo of ", "max_tokens": 12}),
        ({"stream": True}, {"method": "greedy"}),
        ({"stream": True, "top_k": 3}, {"method": "sample", "top_k": 3}),
        ({"stream": True, "method": "beam"}, {"method": "beam"}),
    ],
)
def test_settings_go_to_the_worker(stack: Stack, asked: dict[str, Any], sent: dict[str, Any]) -> None:
    assert stack.post(URL, {"image": CAT, **asked}).status_code == 200
    assert stack.torchserve.captioner.bodies[0]["caption"] == sent


def test_a_bad_picture_among_good_ones(stack: Stack) -> None:
    answer = stack.post(URL, {"images": [CAT, BROKEN, 7, DOG]})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [each["object"] for each in data] == ["caption", "error", "error", "caption"]
    assert [each["index"] for each in data] == [0, 1, 2, 3]
    assert [data[place]["text"] for place in (0, 3)] == ["a picture of cat", "a picture of dog"]
    assert data[1]["error"]["param"] == "images[1]"
    assert data[1]["error"]["code"] == data[2]["error"]["code"] == "invalid_image"
    assert answer.json()["usage"]["caption_tokens"] == 8


def test_a_lone_bad_picture_is_the_calls_error(stack: Stack) -> None:
    assert error(stack.post(URL, {"image": BROKEN})) == (400, "invalid_image", "image")


def test_forms(stack: Stack) -> None:
    one = stack.client.post(URL, files={"image": picture("cat")}, data={"prompt": "look: ", "max_tokens": "12"})
    assert one.json()["data"][0]["text"] == "look: a picture of cat"
    files = [("images", ("a.png", picture("cat"))), ("images", ("b.png", picture("dog")))]
    several = stack.client.post(URL, files=files)
    assert [each["text"] for each in several.json()["data"]] == ["a picture of cat", "a picture of dog"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**6}, "max_tokens"),
        ({"max_tokens": 500}, "max_tokens"),  # which the worker knows
        ({"min_tokens": 20, "max_tokens": 10}, "min_tokens"),
        ({"prompt": "word " * 80}, "prompt"),  # as well
        ({"prompt": "word " * 8000}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"method": "magic"}, "method"),
        ({"temperature": 0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": 0}, "n"),
        ({"seed": -1}, "seed"),
        ({"colour": "red"}, "colour"),
        ({"images": [CAT]}, "image"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_settings_that_make_no_sense(stack: Stack, asked: dict[str, Any], param: str, stream: bool) -> None:
    answer = stack.post(URL, {"image": CAT, "stream": stream, **asked})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_no_pictures_and_too_many(stack_of: Any) -> None:
    stack = stack_of(max_inputs=2)
    assert error(stack.post(URL, {})) == (400, "invalid_request", "image")
    assert error(stack.post(URL, {"images": []})) == (400, "invalid_request", "images")
    assert error(stack.post(URL, {"images": [CAT] * 3})) == (413, "request_too_large", "images")


def test_settings_are_wrong_for_all_pictures(stack: Stack) -> None:
    assert error(stack.post(URL, {"images": [CAT, DOG], "max_tokens": 100}))[2] == "max_tokens"


def test_a_model_without_a_captioner(stack_of: Any, upstreams: Any) -> None:
    upstreams[0].torchserve.captioner.endpoints = set()
    stack = stack_of()
    answer = stack.post(URL, {"image": CAT})
    assert error(answer) == (400, "no_captioner", "model")
    assert "no served model has one" in answer.json()["error"]["message"]
    told = stack.client.get("/v1/models").json()["data"][0]
    assert told["captioner"] is False
    assert told["endpoints"] == ["clip_text", "clip_image", "clip_multimodal"]


def test_models_that_have_one_are_named(stack_of: Any, tmp_path: Path) -> None:
    rows = [{"name": "demo", "text": "clip_text", "image": "clip_image", "multimodal": "clip_multimodal"}]
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"models": [*rows, {"name": "other"}]}))
    stack = stack_of(models_file=file)
    stack.torchserve.serve("other", "fp-other")
    answer = stack.post(URL, {"image": CAT, "model": "other"})
    assert error(answer) == (400, "no_captioner", "model")
    assert "'demo'" in answer.json()["error"]["message"]
    assert stack.post(URL, {"image": CAT, "model": "demo"}).status_code == 200
    assert error(stack.post(URL, {"image": CAT, "model": "third"}))[:2] == (404, "model_not_found")
    listed = stack.client.get("/v1/models").json()["data"]
    assert {each["id"]: each["captioner"] for each in listed} == {"demo": True, "other": False}
    assert stack.client.get("/v1/models/demo").json()["endpoints"][-1] == "clip_caption"


def test_a_full_queue_is_429(stack: Stack) -> None:
    stack.torchserve.captioner.full = True
    for stream in (False, True):
        answer = stack.post(URL, {"image": CAT, "stream": stream})
        assert error(answer)[:2] == (429, "overloaded")
        assert "Retry-After" in answer.headers
    assert error(stack.post(URL, {"images": [CAT, DOG]}))[0] == 429


def test_worker_failures(stack: Stack) -> None:
    stack.torchserve.failure = "worker_died"
    assert error(stack.post(URL, {"image": CAT}))[:2] == (503, "worker_lost")
    assert error(stack.post(URL, {"image": CAT, "stream": True}))[:2] == (503, "worker_lost")
    stack.torchserve.failure = "nonsense"
    assert error(stack.post(URL, {"image": CAT}))[:2] == (424, "inference_failed")
    assert error(stack.post(URL, {"image": CAT, "stream": True}))[:2] == (424, "inference_failed")


def test_keys_scopes_costs(stack_of: Any) -> None:
    stack = stack_of(api_keys="k", items_per_minute=4)
    assert stack.post(URL, {"image": CAT}).status_code == 401
    stack.client.headers["Authorization"] = "Bearer k"
    assert stack.post(URL, {"images": [CAT, DOG]}).status_code == 200
    assert error(stack.post(f"{URL}/score", {"image": CAT, "texts": ["a", "b"]}))[:2] == (429, "rate_limited")
    stack.torchserve.captioner.full = True
    assert error(stack.post(URL, {"images": [CAT, DOG]}))[:2] == (429, "overloaded")  # nothing was done for it
    stack.torchserve.captioner.full = False
    assert stack.post(URL, {"images": [CAT, DOG]}).status_code == 200


def test_texts_to_score_are_given_back_with_their_pictures(stack_of: Any) -> None:
    stack = stack_of(items_per_minute=50)
    body = {"images": [CAT, DOG], "texts": ["a", "b", "c"]}
    stack.torchserve.captioner.full = True
    refused = stack.post(f"{URL}/score", body)
    assert (refused.status_code, refused.headers["x-ratelimit-remaining-items"]) == (429, "50")
    stack.torchserve.captioner.full, stack.torchserve.failure = False, "worker_died"
    lost = stack.post(f"{URL}/score", body)
    assert (lost.status_code, lost.headers["x-ratelimit-remaining-items"]) == (503, "45")  # a worker worked on it


def test_originals_of_one_call_share_its_room(stack_of: Any) -> None:
    stack = stack_of(pictures="copy", max_body_bytes=400_000)
    noise = BytesIO()
    Image.effect_noise((400, 400), 100).save(noise, "PNG")
    assert 100_000 < len(noise.getvalue()) < 200_000
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    stack.client.post("/v1/collections/demo/items", files={"image": noise.getvalue()}, data={"id": "n"})
    one = {"collection": "demo", "id": "n"}
    assert stack.post(URL, {"image": one}).status_code == 200
    assert stack.post(URL, {"images": [one] * 8}).status_code == 200
    first, *others = (base64.b64decode(each["image"]) for each in stack.torchserve.captioner.bodies)
    assert first == noise.getvalue()
    assert {each[:4] for each in others} == {b"RIFF"}
    assert len(others) == 8


def test_originals_that_no_model_reads_are_captioned_by_their_thumbnail(stack_of: Any, tmp_path: Path) -> None:
    """AVIF, and what has too many pixels: clients sent them converted or scaled down."""
    stack = stack_of(image_roots={"demo": tmp_path}, max_image_pixels=600_000)
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    small = BytesIO()
    Image.new("RGB", (40, 30), "red").save(small, "JPEG")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "small.avif")
    Image.new("RGB", (900, 700), "red").save(tmp_path / "large.png")
    Image.new("RGB", (90, 70), "red").save(tmp_path / "usual.png")
    for path in (tmp_path / name for name in ("small.avif", "large.png", "usual.png")):
        original = {"path": path.name, "digest": hashlib.sha256(path.read_bytes()).hexdigest()}
        data = {"id": path.name, "metadata": json.dumps({"original_file": original})}
        stack.client.post("/v1/collections/demo/items", files={"image": small.getvalue()}, data=data)
    for name, begin in (("small.avif", b"RIFF"), ("large.png", b"RIFF"), ("usual.png", b"\x89PNG")):
        assert stack.post(URL, {"image": {"collection": "demo", "id": name}}).status_code == 200
        sent = base64.b64decode(stack.torchserve.captioner.bodies[-1]["image"])
        assert sent[:4] == begin, name


def test_captions_that_come_one_by_one_do_not_stall(stack_of: Any) -> None:
    stack = stack_of(stall_timeout_s=0.8, fan_out_concurrency=1)
    stack.torchserve.captioner.token_s = 0.06
    answer = stack.post(URL, {"images": [CAT] * 6})
    assert answer.status_code == 200, answer.text  # after 1.8 s


def test_pictures_of_items(stack: Stack) -> None:
    red = BytesIO()
    Image.new("RGB", (8, 8), "red").save(red, "PNG")
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    assert (
        stack.client.post("/v1/collections/demo/items", files={"image": red.getvalue()}, data={"id": "a/b"}).json()[
            "results"
        ][0]["status"]
        == 200
    )
    answer = stack.post(URL, {"image": {"collection": "demo", "id": "a/b"}})
    assert answer.status_code == 200, answer.text
    missing = {"collection": "demo", "id": "none"}
    assert error(stack.post(URL, {"image": missing}))[:2] == (404, "item_not_found")
    assert error(stack.post(URL, {"image": {"collection": "demo"}})) == (400, "invalid_request", "image")
    mixed = stack.post(URL, {"images": [CAT, missing]}).json()["data"]
    assert [each["object"] for each in mixed] == ["caption", "error"]


def test_urls_go_through_the_safe_fetcher(stack_of: Any) -> None:
    stack = stack_of(fetch_urls=True)
    answer = stack.post(URL, {"images": [CAT, "http://127.0.0.1:80/a.png"]})
    assert [each["object"] for each in answer.json()["data"]] == ["caption", "error"]
    assert answer.json()["data"][1]["error"]["code"] == "fetch_refused"


def test_a_call_has_some_pictures_under_way(stack_of: Any) -> None:
    stack = stack_of(fan_out_concurrency=2)
    stack.torchserve.captioner.token_s = 0.02
    assert stack.post(URL, {"images": [CAT] * 6}).status_code == 200
    assert stack.torchserve.captioner.busiest == 2


def test_scores(stack: Stack) -> None:
    answer = stack.post(f"{URL}/score", {"image": CAT, "texts": ["a cat", "a blue dog"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == [
        {
            "object": "scores",
            "index": 0,
            "scores": [
                {"text": "a cat", "logprob": -0.5, "tokens": 4},
                {"text": "a blue dog", "logprob": -9.0, "tokens": 5},
            ],
        }
    ]
    assert error(stack.post(f"{URL}/score", {"image": CAT, "texts": ["a", " "]}))[2] == "texts[1]"
    assert error(stack.post(f"{URL}/score", {"image": CAT, "texts": []}))[2] == "texts"
    several = stack.post(f"{URL}/score", {"images": [CAT, BROKEN], "texts": ["a cat"]}).json()["data"]
    assert [each["object"] for each in several] == ["scores", "error"]


def test_a_stream(stack: Stack) -> None:
    answer = stack.post(URL, {"image": CAT, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert list(told[:-2]) == [
        (None, {"object": "caption.chunk", "index": 0, "delta": f"{word} "}) for word in ("a", "picture", "of", "cat")
    ]
    name, last = told[-2]
    assert name is None
    assert (last["object"], last["text"], last["finish_reason"]) == ("caption", "a picture of cat", "stop")
    assert (last["model"], last["usage"]["caption_tokens"]) == ("demo", 4)
    assert told[-1] == (None, "[DONE]")


def test_a_stream_of_several(stack: Stack) -> None:
    told = events(stack.post(URL, {"images": [CAT, BROKEN, DOG], "stream": True}).text)
    captions = {data["index"]: data["text"] for name, data in told[:-1] if data["object"] == "caption"}
    assert captions == {0: "a picture of cat", 2: "a picture of dog"}
    (failed,) = [data for name, data in told if name == "error"]
    assert (failed["index"], failed["error"]["code"]) == (1, "invalid_image")
    assert told[-1][1] == "[DONE]"


def test_it_streams_while_it_is_made(stack: Stack) -> None:
    stack.torchserve.captioner.token_s = 0.2
    with stack.client.stream("POST", URL, json={"image": CAT, "stream": True}) as answer:
        began = time.monotonic()
        came = [time.monotonic() - began for _ in answer.iter_text()]
    assert came[0] < 0.15
    assert came[-1] > 0.4


@pytest.mark.parametrize(("how", "code"), [("dies_after", "worker_lost"), ("fails_after", "inference_failed")])
def test_a_worker_that_ends_in_mid_stream(stack: Stack, how: str, code: str) -> None:
    setattr(stack.torchserve.captioner, how, 2)
    answer = stack.post(URL, {"image": CAT, "stream": True})
    assert answer.status_code == 200
    told = events(answer.text)
    assert [data["object"] for _, data in told[:2]] == ["caption.chunk"] * 2
    name, data = told[2]
    assert (name, data["error"]["code"]) == ("error", code)
    assert told[3:] == [(None, "[DONE]")]


def test_a_client_that_leaves_ends_the_work(stack: Stack) -> None:
    fake = stack.torchserve.captioner
    fake.token_s = 1.0
    with stack.client.stream("POST", URL, json={"image": CAT, "stream": True}) as answer:
        pieces = answer.iter_text()  # httpx closes the connection of one that nobody holds
        next(pieces)
        assert fake.under_way == 1
    until(lambda: fake.under_way == 0)
    assert fake.left == 1


def test_a_client_that_leaves_before_the_first_piece_ends_the_work(stack: Stack) -> None:
    fake = stack.torchserve.captioner
    fake.waits = True
    with pytest.raises(httpx.ReadTimeout):
        stack.post(URL, {"images": [CAT, DOG], "stream": True}, timeout=0.5)
    until(lambda: fake.under_way == 0)
    assert fake.left == 2


def test_the_time_of_a_stream_is_over(stack: Stack) -> None:
    stack.torchserve.captioner.token_s = 0.5
    answer = stack.post(URL, {"image": CAT, "stream": True}, headers={"X-Request-Timeout": "0.8"})
    assert [name for name, _ in events(answer.text)] == [None, "error", None]
    assert events(answer.text)[1][1]["error"]["code"] == "deadline_exceeded"
    answer = stack.post(URL, {"image": CAT}, headers={"X-Request-Timeout": "0.3"})
    assert error(answer)[:2] == (504, "deadline_exceeded")


def test_they_are_counted(stack_of: Any) -> None:
    stack = stack_of()
    stack.post(URL, {"images": [CAT, BROKEN]})
    stack.post(URL, {"image": DOG, "stream": True})
    lines = stack.client.get("/metrics").text.splitlines()

    def value(name: str) -> float:
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    endpoint = '{endpoint="clip_caption"}'
    assert value(f"clipserve_gateway_captions_total{endpoint}") == 2
    assert value(f"clipserve_gateway_caption_tokens_total{endpoint}") == 8
    assert value(f"clipserve_gateway_caption_first_seconds_count{endpoint}") == 1
    assert value(f"clipserve_gateway_demand_items_total{endpoint}") == 3


def test_overload_refuses_captions_and_nothing_else(stack_of: Any) -> None:
    stack = stack_of(max_in_flight=1, admission_timeout_s=0)
    fake = stack.torchserve.captioner
    fake.waits = True
    with ThreadPoolExecutor(20) as pool:
        sent = [pool.submit(stack.post, URL, {"image": CAT}) for _ in range(20)]
        until(lambda: sum(each.done() for each in sent) >= 12)
        assert stack.post("/v1/embeddings", {"input": "a"}).status_code == 200
        fake.waits = False
        statuses = {each.result().status_code for each in sent}
    assert statuses == {200, 429}


def test_sleeping_captioners_are_woken(stack_of: Any) -> None:
    stack = stack_of(autoscaled="workers", cold_start_timeout_s=20)
    fake = stack.torchserve
    fake.failure, fake.workers, fake.wanted, fake.failing_endpoint = "queue_full", "UNLOADED", 0, "clip_caption"
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(stack.post(URL, {"image": CAT, "stream": True})))
    waiting.start()
    time.sleep(0.5)
    assert not answers
    fake.failure, fake.workers, fake.wanted = None, "READY", 1
    waiting.join()
    assert answers[0].status_code == 200
