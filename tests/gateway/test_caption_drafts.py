"""Drafts of captions over HTTP: where they come from, and captions made without them when they can't be had."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from gateway.keys.key_store import KeyStore
from tests.gateway.conftest import Stack
from tests.gateway.fakes import picture_uri
from tests.gateway.test_captions import URL, error, events

CAT, DOG = picture_uri("cat"), picture_uri("dog")
WORDS = ("cat", "cat dog", "dog", "bird")


@pytest.fixture
def filled(stack_of: Any) -> Stack:
    """A gateway of its own: after drafts that could not be had it rests."""
    stack: Stack = stack_of()
    assert stack.client.put("/v1/collections/demo", json={}).status_code == 201
    items = [{"id": word, "text": word, "metadata": {"caption": f"a {word}"}} for word in WORDS]
    items.append({"id": "bare", "text": "cat"})
    assert stack.post("/v1/collections/demo/items", {"items": items}).status_code == 200
    return stack


def ask(stack: Stack, **more: Any) -> httpx.Response:
    answer = stack.post(URL, {"image": CAT, "method": "greedy", "drafts": {"collection": "demo"}, **more})
    assert answer.status_code == 200, answer.text
    return answer


def sent(stack: Stack) -> Any:
    return stack.torchserve.captioner.bodies[-1]


def test_captions_of_neighbours_are_drafts(filled: Stack) -> None:
    told = ask(filled, drafts={"collection": "demo", "k": 3}).json()
    first, second = sent(filled)["drafts"]  # one of three neighbours has no caption
    assert (first, second[:2]) == ("a cat", "a ")
    assert told["timing"]["drafts"] == ["used"]
    assert told["timing"]["retrieval_ms"] > 0
    assert (told["usage"]["drafted_tokens"], told["usage"]["accepted_tokens"]) == (9, 6)


def test_a_stream_says_it_at_its_end(filled: Stack) -> None:
    answer = filled.post(URL, {"image": DOG, "stream": True, "drafts": {"collection": "demo"}})
    whole = next(data for _, data in events(answer.text) if isinstance(data, dict) and data["object"] == "caption")
    assert whole["drafts"] == "used"
    assert whole["usage"]["accepted_tokens"] == 6


def test_an_item_is_drafted_from_its_own_collection(filled: Stack) -> None:
    red, add = BytesIO(), "/v1/collections/demo/items"
    Image.new("RGB", (8, 8), "red").save(red, "PNG")
    metadata = json.dumps({"caption": "itself"})
    for name in ("red", "other"):
        form = {"id": name, "metadata": metadata if name == "red" else "{}"}
        filled.client.post(add, files={"image": red.getvalue()}, data=form).raise_for_status()
    picture = {"collection": "demo", "id": "red"}
    filled.torchserve.calls.clear()
    told = ask(filled, image=picture, drafts=None).json()
    assert told["timing"]["drafts"] == ["used"]
    assert len(sent(filled)["drafts"]) == len(WORDS)
    assert "itself" not in sent(filled)["drafts"]
    assert not [endpoint for endpoint, _ in filled.torchserve.calls if endpoint == "clip_image"]
    for off in ({"drafts": False}, {"drafts": None, "method": "beam"}):
        told = ask(filled, image=picture, **off).json()
        assert "drafts" not in sent(filled)
        assert "drafts" not in told["timing"]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"drafts": {"collection": "gone"}}, "collection_not_found"),
        ({"method": "beam"}, "method"),
        ({"method": "sample", "n": 2}, "method"),
    ],
)
def test_without_drafts_a_caption_is_made_plainly(filled: Stack, asked: dict[str, Any], why: str) -> None:
    told = ask(filled, **asked).json()
    assert told["data"][0]["text"] == "a picture of cat"
    assert told["timing"]["drafts"] == [why]
    assert "drafts" not in sent(filled)
    assert "drafted_tokens" not in told["usage"]


def test_neighbours_without_captions(filled: Stack) -> None:
    filled.client.put("/v1/collections/bare", json={})
    filled.post("/v1/collections/bare/items", {"items": [{"id": "cat", "text": "cat"}]})
    assert ask(filled, drafts={"collection": "bare"}).json()["timing"]["drafts"] == ["no_captions"]


def test_a_collection_without_drafts_is_no_other_ones_trouble(filled: Stack) -> None:
    """Its name is the model's."""
    filled.client.put("/v1/collections/other", json={})
    item = {"id": "cat", "text": "cat", "metadata": {"caption": "a cat"}}
    filled.post("/v1/collections/other/items", {"items": [item]})
    filled.index.collections["demo"]["spec"]["fingerprint"] = "another"
    assert ask(filled).json()["timing"]["drafts"] == ["fingerprint_mismatch"]
    assert ask(filled, drafts={"collection": "other"}).json()["timing"]["drafts"] == ["used"]


def test_a_bad_picture_takes_no_drafts_from_others(filled: Stack) -> None:
    bad = {"image": "data:image/png;base64,AAAA", "method": "greedy", "drafts": {"collection": "demo"}}
    assert filled.post(URL, bad).status_code == 400
    assert ask(filled).json()["timing"]["drafts"] == ["used"]


def test_an_index_that_is_down(filled: Stack) -> None:
    filled.index.down = True
    told = ask(filled).json()
    assert told["timing"]["drafts"][0] in ("index_unavailable", "timeout")
    assert told["timing"]["retrieval_ms"] < 2000
    again = ask(filled).json()
    assert again["timing"]["drafts"] == told["timing"]["drafts"]
    assert again["timing"]["retrieval_ms"] == 0  # it rests


def test_a_captioner_that_leaves_drafts_alone_is_sent_none_for_a_while(filled: Stack) -> None:
    filled.torchserve.captioner.drafts = {"off": "load"}
    assert ask(filled).json()["timing"]["drafts"] == ["load"]
    again = ask(filled).json()
    assert "drafts" not in sent(filled)
    assert (again["timing"]["drafts"], again["timing"]["retrieval_ms"]) == (["load"], 0)


def test_useless_drafts_of_one_origin_are_no_other_ones_trouble(filled: Stack) -> None:
    filled.client.put("/v1/collections/other", json={})
    filled.post(
        "/v1/collections/other/items", {"items": [{"id": "a", "text": "cat", "metadata": {"caption": "a cat"}}]}
    )
    filled.torchserve.captioner.drafts = {"off": "no_gain"}
    assert ask(filled).json()["timing"]["drafts"] == ["no_gain"]
    origin = sent(filled)["drafts_from"]
    assert ask(filled).json()["timing"]["retrieval_ms"] == 0  # it rests
    assert "drafts" not in sent(filled)
    ask(filled, drafts={"collection": "other"})
    assert sent(filled)["drafts"] == ["a cat"]
    assert sent(filled)["drafts_from"] != origin


def test_each_key_has_an_origin_of_its_own(stack_of: Any, tmp_path: Any) -> None:
    store = KeyStore(tmp_path / "keys.sqlite3")
    secrets = [store.create(name, ("admin",))[0] for name in ("one", "two")]
    stack, origins = stack_of(keys_file=store.path), list[str]()
    stack.client.headers["X-API-Key"] = secrets[0]
    stack.client.put("/v1/collections/demo", json={})
    stack.post("/v1/collections/demo/items", {"items": [{"id": "a", "text": "cat", "metadata": {"caption": "a cat"}}]})
    for secret in (*secrets, secrets[0]):
        stack.client.headers["X-API-Key"] = secret
        ask(stack)
        origins.append(sent(stack)["drafts_from"])
    assert origins[0] == origins[2] != origins[1]


def test_several_pictures_each_have_their_own(filled: Stack) -> None:
    answer = filled.post(URL, {"images": [CAT, "no", DOG], "method": "greedy", "drafts": {"collection": "demo"}}).json()
    assert [each["object"] for each in answer["data"]] == ["caption", "error", "caption"]
    assert answer["timing"]["drafts"] == ["used"]
    assert answer["usage"]["drafted_tokens"] == 18


def test_a_picture_that_is_no_item_has_no_collection_of_its_own(filled: Stack) -> None:
    assert ask(filled, drafts=True).json()["timing"]["drafts"] == ["no_collection"]
    assert "drafts" not in sent(filled)
    described = filled.client.get("/openapi.json").json()["components"]["schemas"]["CaptionsRequest"]["properties"]
    assert "`no_collection`" in described["drafts"]["description"]


@pytest.mark.parametrize(
    ("drafts", "param"),
    [
        ({"collection": ""}, "drafts"),
        ({"collection": "demo", "k": 0}, "drafts"),
        ({"collection": "demo", "k": 1000}, "drafts"),
        ({"k": 3}, "drafts"),
    ],
)
def test_nonsense_is_refused(stack: Stack, drafts: Any, param: str) -> None:
    status, _, told = error(stack.post(URL, {"image": CAT, "drafts": drafts}))
    assert (status, str(told).split(".")[0]) == (400, param)


@pytest.mark.parametrize("drafts", [7, "demo", ["demo"]])
def test_what_drafts_may_be_is_said_in_full(stack: Stack, drafts: Any) -> None:
    message = stack.post(URL, {"image": CAT, "drafts": drafts}).json()["error"]["message"]
    assert message == 'drafts: Input should be true, false or an object: {"collection": "demo"}'


def test_a_key_needs_the_collection(stack_of: Any, tmp_path: Any) -> None:
    store = KeyStore(tmp_path / "keys.sqlite3")
    secret, _ = store.create("one", ("search", "embed"), collections=("mine",))
    stack = stack_of(keys_file=store.path)
    body = {"image": CAT, "drafts": {"collection": "demo"}}
    answer = stack.client.post(URL, json=body, headers={"X-API-Key": secret})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "collection_forbidden")
