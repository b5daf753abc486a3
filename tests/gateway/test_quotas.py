"""Limits of a key: requests, items and megapixels a minute, and requests at the same time."""

from __future__ import annotations

import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clip_core.errors import RateLimited, TooLarge
from gateway.keys.api_key import ApiKey, KeyLimits
from gateway.keys.key_store import KeyStore
from gateway.keys.quotas import Quotas, counts_in
from tests.gateway.fakes import picture_uri
from tests.gateway.hostile import png
from tests.waiting import until

KEY, OTHER = ApiKey("a"), ApiKey("b")


@pytest.fixture(autouse=True)
def room_in_this_minute() -> None:
    """Windows begin with the clock's minutes: what a test counts stays within one."""
    until(lambda: time.time() % 60 < 56)


async def test_a_limit_holds_and_each_key_has_its_own():
    quotas = Quotas(KeyLimits(items_per_minute=10))
    await quotas.spend(KEY, "items", 6)
    await quotas.spend(KEY, "items", 4)
    with pytest.raises(RateLimited) as raised:
        await quotas.spend(KEY, "items", 1)
    assert 0 < raised.value.retry_after <= 60
    await quotas.spend(OTHER, "items", 10)
    await quotas.spend(KEY, "requests", 1000)  # no limit on these


async def test_a_refused_spending_takes_nothing():
    quotas = Quotas(KeyLimits(items_per_minute=10))
    await quotas.spend(KEY, "items", 6)
    with pytest.raises(RateLimited):
        await quotas.spend(KEY, "items", 5)
    await quotas.spend(KEY, "items", 4)


async def test_what_is_given_back_may_be_spent_again():
    quotas = Quotas(KeyLimits(items_per_minute=10, megapixels_per_minute=1))
    await quotas.spend(KEY, "items", 6)
    await quotas.spend(KEY, "megapixels", 0.3072)
    await quotas.give_back(KEY, "items", 6)
    await quotas.give_back(KEY, "megapixels", 0.3072)
    await quotas.spend(KEY, "items", 10)
    await quotas.spend(KEY, "megapixels", 1)
    with pytest.raises(RateLimited):
        await quotas.spend(KEY, "items", 1)


async def test_more_than_a_minute_has_is_not_worth_a_retry():
    with pytest.raises(TooLarge, match="10 a minute"):
        await Quotas(KeyLimits(items_per_minute=10)).spend(KEY, "items", 11)


async def test_fractions_of_megapixels_add_up():
    quotas = Quotas(KeyLimits(megapixels_per_minute=1))
    for _ in range(3):
        await quotas.spend(KEY, "megapixels", 0.3072)  # 640x480
    with pytest.raises(RateLimited):
        await quotas.spend(KEY, "megapixels", 0.3072)


async def test_the_keys_own_limit_wins():
    quotas = Quotas(KeyLimits(requests_per_minute=1))
    generous = ApiKey("g", limits=KeyLimits(requests_per_minute=3))
    for _ in range(3):
        await quotas.spend(generous, "requests", 1)
    with pytest.raises(RateLimited):
        await quotas.spend(generous, "requests", 1)


async def test_without_redis_each_process_counts_for_itself(caplog):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    quotas = Quotas(KeyLimits(items_per_minute=2), counts_in(f"redis://user:hidden@127.0.0.1:{port}"))
    await quotas.spend(KEY, "items", 2)
    with pytest.raises(RateLimited):
        await quotas.spend(KEY, "items", 1)
    assert caplog.text.count("Redis does not answer") == 1
    assert "hidden" not in caplog.text
    await quotas.close()


def test_requests_a_minute(stack_of):
    stack = stack_of(api_keys="k,l", requests_per_minute=2)
    for left in ("1", "0"):
        answer = stack.post("/v1/embeddings", {"input": "a"}, headers={"X-API-Key": "k"})
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == left
    refused = stack.post("/v1/embeddings", {"input": "a"}, headers={"X-API-Key": "k"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert stack.post("/v1/embeddings", {"input": "a"}, headers={"X-API-Key": "l"}).status_code == 200
    assert stack.client.get("/healthz").status_code == 200


def test_items_a_minute_are_texts_images_and_vectors(stack_of):
    stack = stack_of(items_per_minute=10)
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    assert stack.post("/v1/embeddings", {"input": ["a", "b", "c"]}).status_code == 200
    items = [{"id": "a", "text": "a"}, {"id": "v", "vector": [1.0] * 16}]
    assert stack.post("/v1/collections/demo/items", {"items": items}).status_code == 200
    searches = [{"collection": "demo", "text": "a"}, {"collection": "demo", "vector": [1.0] * 16}]
    answer = stack.post("/v1/search/batch", {"searches": searches})
    assert answer.headers["x-ratelimit-remaining-items"] == "3"
    calls = len(stack.torchserve.calls)
    assert stack.post("/v1/embeddings", {"input": ["a"] * 4}).status_code == 429
    assert len(stack.torchserve.calls) == calls  # nothing was done for it
    assert stack.post("/v1/embeddings", {"input": ["a"] * 11}).status_code == 413


_WAITING = [
    ("/v1/embeddings", {"input": ["a", "b"]}),
    ("/v1/search", {"collection": "demo", "text": "a"}),
    ("/v1/search", {"collection": "demo", "query": [{"text": "a"}, {"image": picture_uri("a")}]}),
    ("/v1/rank", {"queries": ["a"], "candidates": ["b", "c"]}),
]


@pytest.mark.parametrize("wait_s", [0.0, 0.05])
def test_what_is_refused_for_overload_takes_no_items(stack_of, wait_s):
    """Whether it is refused as it comes or after it has waited in vain."""
    stack = stack_of(max_in_flight=1, admission_timeout_s=wait_s, items_per_minute=50)
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    stack.torchserve.lets_pass = 0
    first = [("/v1/embeddings", {"input": "a"}), ("/v1/search", _WAITING[2][1])]
    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(stack.post, *each) for each in first]  # at the endpoint of texts and at that of mixes
        until(lambda: stack.torchserve.busy == 2)
        refused = [stack.post(*each) for each in _WAITING]
        stack.torchserve.lets_pass = None
        assert [each.result().status_code for each in working] == [200, 200]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refused] == [(429, "overloaded")] * 4
    last = stack.post("/v1/embeddings", {"input": "a"})
    assert last.headers["x-ratelimit-remaining-items"] == str(50 - 1 - 2 - 1)


def test_an_ingest_that_is_refused_takes_no_items(stack_of):
    stack = stack_of(max_in_flight=1, admission_timeout_s=0, items_per_minute=50)
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    stack.torchserve.lets_pass = 0
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(stack.post, "/v1/embeddings", {"input": "a"})
        until(lambda: stack.torchserve.busy == 1)
        items = [{"id": "a", "text": "a"}, {"id": "v", "vector": [1.0] * 16}]
        assert stack.post("/v1/collections/demo/items", {"items": items}).status_code == 429
        stack.torchserve.lets_pass = None
        assert working.result().status_code == 200
    assert stack.post("/v1/embeddings", {"input": "a"}).headers["x-ratelimit-remaining-items"] == "48"


def test_megapixels_a_minute(stack_of):
    stack = stack_of(megapixels_per_minute=1)
    image = base64.b64encode(png(800, 600)).decode()
    answers = [stack.post("/v1/embeddings", {"input": [{"image": image}]}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert stack.post("/v1/embeddings", {"input": [{"image": "bm8="}, {"text": "a"}]}).status_code == 400


BIG, SMALL = ({"image": base64.b64encode(png(*size)).decode()} for size in ((1200, 1000), (800, 600)))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": [BIG, {"text": "a"}]}),
        ("/v1/search", {"collection": "demo", **BIG}),
        ("/v1/search/batch", {"searches": [{"collection": "demo", **each} for each in (BIG, {"vector": [1.0] * 16})]}),
        ("/v1/collections/demo/items", {"items": [{"id": "a", **BIG}, {"id": "v", "vector": [1.0] * 16}]}),
    ],
)
def test_what_is_refused_for_its_megapixels_takes_no_items(stack_of, path, body):
    stack = stack_of(items_per_minute=50, megapixels_per_minute=1)
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    refused = stack.post(path, body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    for status, left in ((200, 49), (200, 48), (429, 48)):
        answer = stack.post("/v1/embeddings", {"input": [SMALL]})
        assert answer.status_code == status
        assert answer.headers["x-ratelimit-remaining-items"] == str(left)


@pytest.mark.parametrize(("failure", "left"), [("unregistered", 50), ("worker_died", 49)])
def test_what_torchserve_was_not_there_for_takes_nothing(stack_of, failure, left):
    """A worker that died of the request had worked on it."""
    stack = stack_of(items_per_minute=50, megapixels_per_minute=1)
    stack.torchserve.failure = failure
    refused = stack.post("/v1/embeddings", {"input": [SMALL]})
    assert refused.status_code == 503
    assert refused.headers["x-ratelimit-remaining-items"] == str(left)
    assert refused.headers["x-ratelimit-remaining-megapixels"] == ("1" if left == 50 else "0")


def test_score_guidance_gives_back_nothing_that_it_did_not_take(stack_of):
    stack = stack_of(items_per_minute=50)
    stack.fill("a")
    stack.torchserve.failure = "unregistered"
    assert stack.client.get("/v1/collections/demo/score_guidance").status_code == 503
    stack.torchserve.failure = None
    assert stack.post("/v1/embeddings", {"input": "a"}).headers["x-ratelimit-remaining-items"] == "48"


def test_two_models_give_back_no_more_than_was_paid(stack_of, tmp_path):
    rows = [{"name": "demo", "text": "clip_text", "image": "clip_image", "multimodal": "clip_multimodal"}]
    (tmp_path / "models.json").write_text(json.dumps({"models": [*rows, {"name": "other"}]}))
    stack = stack_of(models_file=tmp_path / "models.json", items_per_minute=50, megapixels_per_minute=1)
    stack.torchserve.serve("other", "fp-other")
    for name in ("demo", "other"):
        assert stack.client.put(f"/v1/collections/{name}", json={"model": name}).status_code == 201
    searches = [{"collection": name, **BIG} for name in ("demo", "other")] + [
        {"collection": "demo", "vector": [1.0] * 16}
    ]
    for _ in range(3):
        assert stack.post("/v1/search/batch", {"searches": searches}).status_code == 413
    time.sleep(0.3)
    answer = stack.post("/v1/embeddings", {"input": "a"})
    assert answer.headers["x-ratelimit-remaining-items"] == "49"


def test_requests_at_the_same_time(stack_of, tmp_path):
    store = KeyStore(tmp_path / "keys.db")
    secret, _ = store.create("one at a time", ("embed",), limits=KeyLimits(concurrency=1))
    stack = stack_of(keys_file=store.path, api_keys="k")
    stack.torchserve.lets_pass = 0

    def ask(key: str) -> int:
        return stack.post("/v1/embeddings", {"input": "a"}, headers={"X-API-Key": key}).status_code

    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(ask, secret)
        until(lambda: stack.torchserve.busy == 1)
        assert [ask(secret), ask(secret)] == [429, 429]
        free = [pool.submit(ask, "k") for _ in range(3)]
        stack.torchserve.lets_pass = None
        assert first.result() == 200
        assert {each.result() for each in free} == {200}
    assert ask(secret) == 200


PARTS = [{"text": f"w{n}"} for n in range(20)] + [{"vector": [1.0] * 16}] * 7 + [{"like": "a"}] * 5
CONTENT = [{"type": "text", "text": f"w{n}"} for n in range(32)]


@pytest.mark.parametrize(
    ("path", "body", "items"),
    [
        ("/v1/search", {"collection": "demo", "query": PARTS}, 32),
        ("/v1/search", {"collection": "demo", "like": "a"}, 1),
        ("/v1/search/batch", {"searches": [{"collection": "demo", "query": PARTS}] * 2}, 64),
        ("/v1/search/batch", {"searches": [{"collection": "demo", "query": [{"vector": [1.0] * 16}] * 3}]}, 3),
        ("/v1/embeddings", {"messages": [{"role": "user", "content": CONTENT}]}, 32),
        ("/v1/multimodalembeddings", {"inputs": [{"content": CONTENT}, {"content": "a"}]}, 33),
        ("/v2/embed", {"inputs": [{"content": CONTENT}]}, 32),
        ("/v1/rank", {"queries": ["a", "b"], "candidates": ["c", "d", "e"]}, 5),
    ],
)
def test_each_part_of_a_mix_is_an_item(stack_of, path, body, items):
    stack = stack_of(items_per_minute=100)
    stack.fill("a")  # takes one
    answer = stack.post(path, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ratelimit-remaining-items"] == str(99 - items)


def test_a_mix_that_is_over_the_limit_looks_nothing_up(stack_of):
    stack = stack_of(items_per_minute=20)
    stack.fill("a")
    assert stack.post("/v1/search", {"collection": "demo", "query": PARTS}).status_code == 413
    assert not stack.index.calls


def test_a_mix_is_as_heavy_as_its_parts(stack_of):
    """Two mixes of 20 texts do not fit into a TorchServe request of 32."""
    stack = stack_of(fan_out_texts=32)
    stack.fill("a")
    search = {"collection": "demo", "query": [{"text": f"w{n}"} for n in range(20)]}
    assert stack.post("/v1/search/batch", {"searches": [search] * 2}).status_code == 200
    assert [len(body["input"]) for _, body in stack.torchserve.calls] == [1, 1]
