"""Greedy captions and scores against open_clip's own forward pass, and the scheduler that mixes requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from clip_core.captions.ask import CaptionAsk as Ask
from clip_core.captions.caption import Caption, Event
from clip_core.captions.captioner import Captioner
from clip_core.captions.scheduler import Scheduler
from clip_core.errors import BadModel, BadText, InvalidRequest, Overloaded
from tests.captioners import greedy_by_open_clip, pictures

GREEDY = Ask(method="greedy", max_tokens=24)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return open_clip.create_model(f"local-dir:{folder}").eval().requires_grad_(False)


def finish(scheduler: Scheduler, tokens: int = 4) -> dict[str, list[Event]]:
    events: dict[str, list[Event]] = {}
    while not scheduler.idle:
        for event in scheduler.run(tokens):
            events.setdefault(event.id, []).append(event)
    return events


def caption_all(captioner: Captioner, asks: list[Ask], rows: int = 64, tokens: int = 4) -> list[tuple[Caption, ...]]:
    scheduler = Scheduler(captioner, rows)
    for i, (picture, ask) in enumerate(zip(pictures(len(asks)), asks, strict=True)):
        scheduler.add(str(i), picture, ask)
    events = finish(scheduler, tokens)
    return [events[str(i)][-1].captions or () for i in range(len(asks))]


def test_greedy_is_open_clips_whatever_shares_the_batch(captioner: Captioner, model: Any) -> None:
    images = captioner.preprocessing.normalize(pictures(8))
    start, end = captioner.ids.start, captioner.ids.end
    expected = [tuple(greedy_by_open_clip(model, image[None], start, end, 24)) for image in images]
    assert len(set(expected)) > 4
    for rows in (1, 3, 8):
        found = caption_all(captioner, [GREEDY] * 8, rows, tokens=3)
        assert [captions[0].tokens for captions in found] == expected


def test_a_log_probability_is_that_of_its_text(captioner: Captioner, model: Any) -> None:
    image = captioner.preprocessing.normalize(pictures(1))
    (caption,) = caption_all(captioner, [GREEDY])[0]
    ids = torch.tensor([caption.tokens])
    logits = model(image, ids)["logits"][0]
    expected = logits.log_softmax(dim=-1).gather(1, ids[0, 1:, None]).sum()
    assert caption.logprob == pytest.approx(float(expected), abs=1e-3)


def test_scores_are_open_clips_of_each_text(captioner: Captioner, model: Any) -> None:
    texts = ["a red circle", "!", "two blue squares ! on ! grass"]
    memory = captioner.remember(pictures(2))
    scores = captioner.score(memory[1], captioner.read(texts))
    image = captioner.preprocessing.normalize(pictures(2))[1:]
    for text, score in zip(texts, scores, strict=True):
        tokens = captioner.tokenizer(text)
        ids = tokens.ids[None, : tokens.count]
        logits = model(image, ids)["logits"][0]
        assert score == pytest.approx(float(logits.log_softmax(-1).gather(1, ids[0, 1:, None]).sum()), abs=1e-3)
    assert scores != captioner.score(memory[0], texts)
    with pytest.raises(BadText):
        captioner.score(memory[0], ["word " * 40])


def test_deltas_make_up_the_text(captioner: Captioner) -> None:
    scheduler = Scheduler(captioner, 4)
    for i, picture in enumerate(pictures(6)):
        scheduler.add(str(i), picture, Ask(method="greedy", prompt="a photo", max_tokens=20))
    events = finish(scheduler, tokens=1)
    for news in events.values():
        assert news[-1].captions
        assert "".join(event.delta for event in news) == news[-1].captions[0].text
        assert news[-1].captions[0].text.startswith("a photo")
    assert max(map(len, events.values())) > 3


def test_a_request_that_is_cancelled_frees_its_caches_at_once(captioner: Captioner) -> None:
    scheduler = Scheduler(captioner, 2, most_waiting=1)
    for i, picture in enumerate(pictures(3)):
        scheduler.add(str(i), picture, GREEDY)
    with pytest.raises(Overloaded):
        scheduler.add("one too many", pictures(1)[0], GREEDY)
    scheduler.run(1)
    assert (scheduler.live_rows, scheduler.waiting) == (2, 1)
    before = scheduler.cache_bytes
    scheduler.cancel("0")
    assert scheduler.live_rows == 1
    assert scheduler.cache_bytes < before
    scheduler.cancel("2")
    scheduler.cancel("1")
    assert (scheduler.live_rows, scheduler.waiting, scheduler.cache_bytes, scheduler.idle) == (0, 0, 0, True)


def test_a_bad_picture_is_nobody_elses_error(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = caption_all(captioner, [GREEDY] * 3)
    remember = captioner.remember

    def picky(pixels: torch.Tensor) -> Any:
        if bool((pixels == pictures(3)[1]).flatten(1).all(dim=1).any()):
            raise RuntimeError("no")
        return remember(pixels)

    monkeypatch.setattr(captioner, "remember", picky)
    scheduler = Scheduler(captioner)
    for i, picture in enumerate(pictures(3)):
        scheduler.add(str(i), picture, GREEDY)
    events = finish(scheduler)
    assert events["1"][-1].error is not None
    found = [(events[i][-1].captions or ())[0].tokens for i in "02"]
    assert found == [alone[i][0].tokens for i in (0, 2)]


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 0},
        {"max_tokens": 10**6},
        {"max_tokens": True},
        {"method": "guess"},
        {"min_tokens": 30},
        {"beams": 6, "groups": 4},
        {"beams": 10**9},
        {"temperature": 0},
        {"temperature": float("nan")},
        {"top_p": 1.5},
        {"n": 3},
        {"seed": -1},
        {"prompt": 3},
        {"colour": "red"},
    ],
)
def test_nonsense_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Ask.parse(body)
    assert refused.value.param in body


def test_a_short_caption_needs_no_least_length() -> None:
    assert Ask.parse({"max_tokens": 4}).min_tokens == 0
    assert Ask.parse({"max_tokens": 20}).min_tokens == 5
    with pytest.raises(InvalidRequest, match="min_tokens is less"):
        Ask.parse({"max_tokens": 4, "min_tokens": 5})


def test_what_the_model_has_no_room_for_is_refused(captioner: Captioner) -> None:
    scheduler = Scheduler(captioner, 4)
    for ask in (
        Ask(method="greedy", max_tokens=25),
        Ask(method="greedy", max_tokens=24, prompt="word " * 24),
        Ask(method="greedy", max_tokens=8, prompt="one two three four five six seven"),
        Ask(method="sample", max_tokens=8, n=5),
    ):
        with pytest.raises(InvalidRequest):
            scheduler.add("bad", pictures(1)[0], ask)
    with pytest.raises(InvalidRequest) as refused:
        scheduler.add("bad", pictures(1)[0], Ask(beams=6, groups=1))
    assert refused.value.param == "beams"
    assert scheduler.idle


@pytest.mark.parametrize("word", ["<end_of_text>", "<start_of_text>"])
def test_a_prompt_neither_ends_nor_begins_a_text(captioner: Captioner, word: str) -> None:
    for prompt in (word, f"a {word} photo"):
        with pytest.raises(InvalidRequest, match="start or end") as refused:
            captioner.prefix(Ask(prompt=prompt, max_tokens=20))
        assert refused.value.param == "prompt"


def test_a_model_without_a_decoder_is_no_captioner(checkpoint: Path) -> None:
    with pytest.raises(BadModel, match="no captioning decoder"):
        Captioner.load(checkpoint)
