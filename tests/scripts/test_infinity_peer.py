"""The peer of the gateway's benchmark reads texts as open_clip does, and bars without a figure do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gateway import BARS, judge
from benchmarks.load import at_rate
from scripts.infinity_peer import write_tokenizer
from tests.gateway.fakes import FakeIndex, FakeTorchServe, serving


def test_the_peers_tokens_are_open_clips(tmp_path: Path) -> None:
    import open_clip
    from transformers import CLIPTokenizer

    write_tokenizer(tmp_path)
    theirs, ours = CLIPTokenizer.from_pretrained(tmp_path), open_clip.get_tokenizer("ViT-B-32")
    for text in ("a photo of a dog", "two people riding bicycles along a river at sunset"):
        tokens = ours([text])[0]
        assert theirs(text)["input_ids"] == tokens[: int(tokens.argmax()) + 1].tolist()


def test_what_was_not_measured_does_not_hold() -> None:
    rows = judge({"gateway_cost_p50_ms": 1.5, "soak_errors": 1.0})
    assert [row["name"] for row in rows] == list(BARS)
    assert {row["name"] for row in rows if row["holds"]} == {"gateway_cost_p50_ms"}
    assert [row["value"] for row in rows if row["name"] == "images_per_s_over_infinity"] == [None]


@pytest.mark.parametrize(("failure", "good"), [(None, 50), ("queue_full", 0)])
def test_an_open_loop_sends_what_it_was_told(failure: str | None, good: int) -> None:
    fake = FakeTorchServe(FakeIndex(), failure=failure, delay_s=0.3)
    with serving(fake.app()) as url:
        load = at_rate(f"{url}/predictions/clip_text", [{"input": [{"text": "a"}]}], 100, 0.5)
    assert (len(load.latencies), load.errors) == (good, 50 - good)
    assert load.seconds >= 0.5
    assert not failure or fake.busiest > 10
