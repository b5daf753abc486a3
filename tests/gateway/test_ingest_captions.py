"""Captions at ingest: in items, forms, streams and jobs; a caption that fails never fails its item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import Stack
from tests.gateway.fakes import picture, picture_uri
from tests.waiting import until

CAT = picture_uri("cat")
ITEMS = "/v1/collections/demo/items"


@pytest.fixture
def filled(stack: Stack) -> Stack:
    stack.fill("word")
    return stack


def metadata(stack: Stack, item_id: str) -> dict[str, Any]:
    told = dict(stack.index.collections["demo"]["items"][item_id]["metadata"])
    told.pop("digest", None)
    return told


def test_a_picture_is_captioned(filled: Stack) -> None:
    items = [{"id": "a", "image": CAT, "caption": True, "metadata": {"n": 1}}, {"id": "b", "image": CAT}]
    answer = filled.post(ITEMS, {"items": items})
    assert answer.json()["results"] == [{"id": "a", "status": 200}, {"id": "b", "status": 200}]
    assert metadata(filled, "a") == {"n": 1, "caption": "a picture of cat"}
    assert metadata(filled, "b") == {}
    found = filled.post("/v1/search", {"collection": "demo", "text": "cat", "filter": {"caption": "a picture of cat"}})
    assert [hit["id"] for hit in found.json()["hits"]] == ["a"]
    assert len(filled.torchserve.captioner.bodies) == 1


def test_the_callers_own_caption_stays(filled: Stack) -> None:
    filled.post(ITEMS, {"items": [{"id": "a", "image": CAT, "metadata": {"caption": "mine"}}], "caption": True})
    assert metadata(filled, "a") == {"caption": "mine"}
    assert filled.torchserve.captioner.bodies == []


def test_a_body_speaks_for_its_items(filled: Stack) -> None:
    items = [{"id": "a", "image": CAT}, {"id": "b", "image": CAT, "caption": False}]
    assert filled.post(ITEMS, {"items": items, "caption": True}).status_code == 200
    assert (metadata(filled, "a"), metadata(filled, "b")) == ({"caption": "a picture of cat"}, {})


def test_forms(filled: Stack) -> None:
    data = {"id": "form", "caption": "true"}
    filled.client.post(ITEMS, files={"image": picture("dog")}, data=data)
    assert metadata(filled, "form") == {"caption": "a picture of dog"}
    files = [("images", (name, picture(name))) for name in ("x.png", "y.png")]
    filled.client.post(ITEMS, files=files, data={"caption": "true"})
    assert metadata(filled, "y.png") == {"file": "y.png", "caption": "a picture of y.png"}


@pytest.mark.parametrize(
    ("broken", "code"),
    [({"full": True}, "overloaded"), ({"endpoints": set()}, "no_captioner")],
)
def test_a_caption_that_fails_is_a_warning(stack_of: Any, upstreams: Any, broken: dict[str, Any], code: str) -> None:
    vars(upstreams[0].torchserve.captioner).update(broken)
    stack = stack_of()
    stack.fill("word")
    (result,) = stack.post(ITEMS, {"items": [{"id": "a", "image": CAT, "caption": True}]}).json()["results"]
    assert (result["status"], result["warning"]["code"]) == (200, code)
    assert metadata(stack, "a") == {}


def test_items_go_in_without_captions_that_take_too_long(filled: Stack) -> None:
    filled.torchserve.captioner.waits = True
    body = {"items": [{"id": n, "image": CAT} for n in "ab"], "caption": True}
    answer = filled.post(ITEMS, body, headers={"X-Request-Timeout": "1.5"})
    filled.torchserve.captioner.waits = False
    assert answer.status_code == 200, answer.text
    told = [(each["status"], each["warning"]["code"]) for each in answer.json()["results"]]
    assert told == [(200, "deadline_exceeded")] * 2
    assert (metadata(filled, "a"), metadata(filled, "b")) == ({}, {})


def test_a_captioner_that_hangs_is_not_waited_for_by_each_in_turn(stack_of: Any) -> None:
    stack = stack_of(timeout_s=0.5, fan_out_concurrency=2)
    stack.fill("word")
    stack.torchserve.captioner.waits = True
    told = stack.post(ITEMS, {"items": [{"id": n, "image": CAT} for n in "abcdef"], "caption": True})
    stack.torchserve.captioner.waits = False
    assert [each["warning"]["code"] for each in told.json()["results"]] == ["torchserve_unavailable"] * 6
    assert len(stack.torchserve.captioner.bodies) == 2


def test_a_picture_that_is_sent_again_keeps_its_caption_where_a_new_one_fails(filled: Stack) -> None:
    def send(picture: str) -> dict[str, Any]:
        item = {"id": "a", "image": picture, "caption": True, "metadata": {"n": 2}}
        return dict(filled.post(ITEMS, {"items": [item]}).json()["results"][0])

    send(CAT)
    filled.torchserve.captioner.full = True
    told = send(CAT)["warning"]
    assert (told["code"], "stays" in told["message"]) == ("overloaded", True)
    assert metadata(filled, "a") == {"n": 2, "caption": "a picture of cat"}
    assert "stays" not in send(picture_uri("dog"))["warning"]["message"]
    assert metadata(filled, "a") == {"n": 2}


def test_metadata_that_has_no_room_for_a_caption_goes_in_without(filled: Stack) -> None:
    sizes = {"a": 65_410, "b": 65_440, "c": 65_600}  # with a digest and a caption: all fits; not the caption; nothing
    items = [{"id": n, "image": CAT, "metadata": {"x": "x" * size}} for n, size in sizes.items()]
    told = filled.post(ITEMS, {"items": items, "caption": True}).json()["results"]
    assert [each["status"] for each in told] == [200, 200, 413]
    assert told[1]["warning"]["code"] == "request_too_large"
    assert ("caption" in metadata(filled, "a"), metadata(filled, "b").keys()) == (True, {"x"})


def test_other_items_than_pictures_are_warned_about(filled: Stack) -> None:
    items = [
        {"id": "a", "text": "a", "caption": True},
        {"id": "b", "image": "data:image/png;base64,AAAA", "caption": True},
    ]
    told = filled.post(ITEMS, {"items": items}).json()["results"]
    assert (told[0]["status"], told[0]["warning"]["param"]) == (200, "items[0].caption")
    assert (told[1]["status"], told[1]["error"]["code"]) == (400, "invalid_image")
    assert "warning" not in told[1]
    assert filled.torchserve.captioner.bodies == []


def test_what_is_no_wish_is_refused(filled: Stack) -> None:
    told = filled.post(ITEMS, {"items": [{"id": "a", "image": CAT, "caption": "yes"}, {"id": "b", "text": "b"}]}).json()
    assert [each["status"] for each in told["results"]] == [400, 200]
    assert told["results"][0]["error"]["param"] == "items[0].caption"
    answer = filled.post(ITEMS, {"items": [{"id": "b", "text": "b"}], "caption": 1})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "caption")


def test_a_stream_of_items(filled: Stack) -> None:
    lines = [
        {"id": "a", "image": CAT, "caption": True},
        {"id": "b", "text": "b", "caption": True},
        {"id": "c", "text": "c"},
    ]
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    told = filled.client.post(f"{ITEMS}/stream", content=content).json()
    assert (told["added"], told["failed"]) == (3, 0)
    assert [(each["line"], each["warning"]["code"]) for each in told["warnings"]] == [(2, "invalid_request")]
    assert metadata(filled, "a") == {"caption": "a picture of cat"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.png").write_bytes(picture(f"w{n}"))
    (folder / "2.txt").write_text("my words")
    return folder


def ended(stack: Stack, job_id: str) -> Any:
    def look() -> Any:
        job = stack.client.get(f"/v1/jobs/{job_id}").json()
        return job if job["state"] in ("completed", "failed") else None

    return until(look)


def test_a_job(stack_of: Any, photos: Path) -> None:
    stack = stack_of(ingest_roots=f"photos={photos}")
    stack.fill("word")
    begun = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos"}, "caption": True}).json()
    assert (begun["source"], begun["caption"]) == ({"folder": "photos"}, True)
    assert ended(stack, begun["id"])["progress"]["added"] == 3
    assert [metadata(stack, f"{n}.png")["caption"] for n in range(3)] == [
        "a picture of w0",
        "a picture of w1",
        "my words",
    ]


def test_a_job_waits_for_a_busy_captioner_and_goes_on_without(stack_of: Any, photos: Path) -> None:
    stack = stack_of(ingest_roots=f"photos={photos}")
    stack.fill("word")
    stack.torchserve.captioner.full = True
    job = stack.post("/v1/jobs", {"collection": "demo", "source": {"folder": "photos"}, "caption": True}).json()
    done = ended(stack, job["id"])
    assert done["progress"]["added"] == 3
    assert done["reasons"]["noted"]["no caption (overloaded)"] == 2
    assert len(stack.torchserve.captioner.bodies) >= 2 * 4
