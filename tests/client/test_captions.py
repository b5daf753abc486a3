"""Captions by `Client`, `AsyncClient` and `clipserve caption`, against the gateway in front of its fakes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clipserve_client import ApiError, AsyncClient, Caption, CaptionPiece, Client, NewItem
from clipserve_client.calls.captions import EventReader
from clipserve_client.errors import BadInput, ConnectionFailed, InferenceFailed, NoCaptioner
from tests.client.conftest import QUICK
from tests.client.test_command import clipserve
from tests.gateway.conftest import Stack
from tests.gateway.fakes import picture

CAT = picture("cat")


def test_one_and_several(client: Client) -> None:
    told = client.caption(CAT, method="beam", n=2)
    assert (told.text, told.finish_reason) == ("a picture of cat", "stop")
    assert [each.text for each in told.alternatives] == ["a picture of cat 1"]
    good, bad = client.captions([CAT, b"no picture"])
    assert isinstance(good, Caption)
    assert isinstance(bad, ApiError)
    assert (bad.code, bad.param) == ("invalid_image", "images[1]")
    with pytest.raises(BadInput, match="max_tokens"):
        client.caption(CAT, max_tokens=0)


def test_an_items_picture(client: Client, stack: Stack) -> None:
    client.create_collection("demo")
    assert client.add("demo", [NewItem("a", image=CAT, caption=True)])[0].ok
    assert stack.index.collections["demo"]["items"]["a"]["metadata"]["caption"] == "a picture of cat"
    with pytest.raises(ApiError) as caught:
        client.caption({"collection": "demo", "id": "none"})
    assert caught.value.code == "item_not_found"


def test_a_stream(client: Client) -> None:
    pieces = list(client.caption_stream(CAT))
    assert "".join(piece.text for piece in pieces) == "a picture of cat "
    assert pieces[-1].caption is not None
    assert pieces[-1].caption.text == "a picture of cat"


def test_a_stream_that_fails(client: Client, stack: Stack) -> None:
    stack.torchserve.captioner.fails_after = 1
    pieces: list[CaptionPiece] = []
    with pytest.raises(InferenceFailed):
        pieces.extend(client.caption_stream(CAT))
    with pytest.raises(BadInput):
        list(client.caption_stream(b"no picture"))


def test_a_full_queue_is_asked_again(stack: Stack) -> None:
    stack.torchserve.captioner.full = True
    with pytest.raises(ApiError) as caught, Client(stack.url, timeout_s=1.5, retries=QUICK) as hasty:
        list(hasty.caption_stream(CAT))
    assert caught.value.status == 429
    assert len(stack.torchserve.captioner.bodies) == 2


def test_a_stream_that_breaks_off() -> None:
    reader = EventReader()
    assert reader.piece('data: {"object": "caption.chunk", "index": 0, "delta": "a "}') == CaptionPiece("a ")
    assert reader.piece("") is None
    with pytest.raises(ConnectionFailed):
        reader.check_end()
    reader.piece("data: [DONE]")
    reader.check_end()


@pytest.mark.parametrize("data", ["{", "7", "{}", '{"object": "caption"}', '{"object": "caption.chunk"}'])
def test_a_line_that_is_not_a_gateways(data) -> None:
    with pytest.raises(ApiError, match="not as a gateway's") as raised:
        EventReader().piece(f"data: {data}")
    assert raised.value.code == "unreadable_answer"


def test_scores(client: Client) -> None:
    scores = client.score_captions(CAT, ["a dog", "a cat"])
    assert max(scores, key=lambda score: score.logprob).text == "a cat"


def test_async(stack: Stack) -> None:
    async def run() -> tuple[str, str, list[Any], float]:
        async with AsyncClient(stack.url, retries=QUICK) as client:
            streamed = [piece async for piece in client.caption_stream(CAT)]
            told = await client.caption(CAT)
            scored = await client.score_captions(CAT, ["a cat"])
            return told.text, "".join(each.text for each in streamed), await client.captions([CAT]), scored[0].logprob

    text, streamed, several, score = asyncio.run(run())
    assert text == streamed.strip() == several[0].text == "a picture of cat"
    assert score == -0.5


def test_models_tell(client: Client, stack_of: Any) -> None:
    assert client.models()[0].captioner
    other = stack_of(caption_endpoint="")
    with Client(other.url) as without:
        assert not without.models()[0].captioner
        with pytest.raises(NoCaptioner):
            without.caption(CAT)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(CAT)
    (folder / "b.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("more", [(), ("--stream",), ("--stream", "--method", "beam")])
def test_the_command(stack: Stack, photos: Path, more: tuple[str, ...]) -> None:
    one = clipserve(stack, "caption", str(photos / "a.png"), "--prompt", "look: ", *more)
    assert (one.exit_code, one.stdout.strip()) == (0, "look: a picture of cat")
    names = [str(photos / name) for name in ("a.png", "b.png", "none.png")]
    several = clipserve(stack, "caption", *names, *more)
    assert several.exit_code == 1
    assert f"{names[0]}\ta picture of cat" in several.stdout
    assert f"{names[1]}: " in several.stderr
    assert f"{names[2]}: No such file" in several.stderr


def test_photos_over_the_body_limit_are_all_captioned(stack_of: Any, tmp_path: Path) -> None:
    stack, names = stack_of(max_body_bytes=400_000, max_buffered_bytes=900_000), []
    for n in range(6):
        names.append(str(tmp_path / f"{n}.png"))
        Image.effect_noise((300, 300), 90 + n).save(names[-1])
    told = clipserve(stack, "caption", *names, names[0])
    assert (told.exit_code, len(told.stdout.splitlines())) == (0, 7), told.output
    with Client(stack.url, retries=QUICK) as client:
        several = client.captions([Path(name) for name in names] + [b"no picture"])
    assert [isinstance(each, Caption) for each in several] == [True] * 6 + [False]


def test_the_command_takes_what_ingest_takes(stack: Stack, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.avif")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.png")
    Path(odd).write_bytes(CAT)
    told = clipserve(stack, "caption", str(tmp_path / "a.avif"), odd)
    assert (told.exit_code, len(told.stdout.splitlines())) == (0, 2), told.output
    assert r"caf\xe9\n.png" in told.stdout
    (tmp_path / "b.png").write_bytes(b"")
    assert clipserve(stack, "caption", str(tmp_path / "b.png")).exit_code == 1


def test_ingest(stack: Stack, photos: Path) -> None:
    ran = clipserve(stack, "ingest", str(photos), "--collection", "p", "--caption")
    assert "1 of 2 items are in p" in ran.output
    assert stack.index.collections["p"]["items"]["a.png"]["metadata"]["caption"] == "a picture of cat"


def test_ingest_without_a_captioner(stack_of: Any, photos: Path) -> None:
    ran = clipserve(stack_of(caption_endpoint=""), "ingest", str(photos), "--collection", "p", "--caption")
    assert "no caption (no_captioner): 1" in ran.output
