"""Beam search and sampling: open_clip's own captions as they were written down, and noise that requests bring along."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from benchmarks.captions.open_clip_captions import NARROW, stripped
from clip_core.captions.ask import CaptionAsk as Ask
from clip_core.captions.captioner import Captioner
from clip_core.captions.samples import gumbel, kept_by_k, kept_by_p
from clip_core.captions.search import first_best, first_of_best
from tests.captioners import GOLDENS, PROMPT, write_captioner
from tests.clip_core.test_captions import caption_all

CASES: list[dict[str, Any]] = json.loads(GOLDENS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"seed {case['seed']}")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Captioner]:
    folder = write_captioner(tmp_path_factory.mktemp("captioner"), request.param["seed"], request.param["favour"])
    return request.param["captions"], Captioner.load(folder)


def ask_of(name: str, captioner: Captioner) -> Ask:
    if name.startswith("beam"):
        _, beams, groups = name.split()
        return Ask(beams=int(beams), groups=int(groups), max_tokens=24)
    prompt = captioner.text(PROMPT) if name == "prompted" else ""
    return Ask(method="greedy", prompt=prompt, max_tokens=24)


@pytest.mark.parametrize("name", list(CASES[0]["captions"]))
def test_captions_are_those_of_open_clips_generate(case: tuple[dict[str, Any], Captioner], name: str) -> None:
    captions, captioner = case
    clear = [i for i, each in enumerate(captions[name]) if each["margin"] > NARROW]
    expected = [tuple(captions[name][i]["ids"]) for i in clear]
    assert len(clear) >= 6
    for rows in (1, 4, 8):
        ask = ask_of(name, captioner)
        found = [stripped(each[0].tokens) for each in caption_all(captioner, [ask] * 8, rows * ask.rows)]
        assert [found[i] for i in clear] == expected


def test_the_goldens_hold_what_could_go_wrong() -> None:
    every = [each["ids"] for case in CASES for captions in case["captions"].values() for each in captions]
    assert any(0 in ids[:-1] for ids in every)  # the padding id inside a text
    assert {len(ids) for ids in every} >= {24}
    assert any(len(ids) < 24 for ids in every)
    assert len({tuple(ids) for ids in every}) > len(every) // 2


def test_a_sample_depends_on_its_seed_and_on_nothing_beside_it(captioner: Captioner) -> None:
    ask = Ask(method="sample", seed=3, top_k=50, top_p=0.9, max_tokens=16, temperature=1.5)
    alone = caption_all(captioner, [ask])[0][0]
    mixed = [
        ask,
        Ask(max_tokens=12),
        Ask(method="greedy", max_tokens=20),
        Ask(method="sample", n=3, max_tokens=9),
    ]
    together = caption_all(captioner, mixed, rows=5, tokens=2)
    assert together[0][0].tokens == alone.tokens
    several = Ask(method="sample", seed=3, top_k=50, top_p=0.9, max_tokens=16, temperature=1.5, n=3)
    tokens = [caption.tokens for caption in caption_all(captioner, [several])[0]]
    assert tokens[0] == alone.tokens
    assert len(set(tokens)) == 3
    assert caption_all(captioner, [Ask(method="sample", seed=4, max_tokens=16)])[0][0].tokens != alone.tokens


def test_the_least_temperature_takes_the_best_token(captioner: Captioner) -> None:
    asks = [Ask("greedy", max_tokens=20), Ask("sample", max_tokens=20, temperature=5e-324, seed=3, top_k=9)]
    greedy, cold = (caption_all(captioner, [ask])[0][0].tokens for ask in asks)
    assert cold == greedy


def test_sampling_follows_the_probabilities() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -30.0])
    drawn = [first_of_best(logits + gumbel(5, 0, position, 4)) for position in range(4000)]
    counts = torch.bincount(torch.tensor(drawn), minlength=4) / 4000
    assert torch.allclose(counts, logits.softmax(dim=0), atol=0.03)


def test_warpers_keep_what_transformers_keeps() -> None:
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)) * 3
    ids = torch.zeros(1, 1, dtype=torch.int64)
    for k in (1, 5, 49):
        assert torch.equal(kept_by_k(logits[0], k), TopKLogitsWarper(k)(ids, logits)[0])
    for p in (0.01, 0.3, 0.9, 0.999):
        assert torch.equal(kept_by_p(logits[0], p), TopPLogitsWarper(p)(ids, logits)[0])


def test_of_equals_the_first_wins() -> None:
    scores = torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0, 2.0])
    assert first_best(scores, 4).tolist() == [1, 3, 2, 4]
    assert first_of_best(scores) == 1


def test_the_best_of_a_beam_search_come_first(captioner: Captioner) -> None:
    captions = caption_all(captioner, [Ask(beams=4, groups=1, n=4, max_tokens=12)])[0]
    assert len({caption.tokens for caption in captions}) == 4
    assert captions[0] == caption_all(captioner, [Ask(beams=4, groups=1, max_tokens=12)])[0][0]
    prompted = caption_all(captioner, [Ask(prompt="a photo", max_tokens=12)])[0][0]
    assert prompted.tokens[:3] == tuple(PROMPT)
    assert prompted.text.startswith("a photo")
