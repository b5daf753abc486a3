"""bf16, int8 and compiled passes beside fp32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clip_core.captions.ask import CaptionAsk as Ask
from clip_core.captions.captioner import Captioner
from clip_core.errors import BadModel
from clip_core.networks import int8
from tests.captioners import pictures
from tests.clip_core.test_captions import caption_all

PRECISIONS = ("bf16", *(() if int8.unsupported() else ("int8",)))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fewer_bits_score_nearly_the_same(captioner: Captioner, folder: Path, precision: str) -> None:
    texts = ["a red circle", "two blue squares on a table"]
    coarse = Captioner.load(folder, precision=precision)
    scores = [each.score(each.remember(pictures(1))[0], texts) for each in (captioner, coarse)]
    assert scores[1] == pytest.approx(scores[0], rel=0.05)
    assert scores[1] != scores[0]
    for captions in caption_all(coarse, [Ask(max_tokens=12), Ask(method="greedy", max_tokens=12)]):
        assert captions[0].logprob < 0


def test_a_precision_that_captioners_have_not_is_refused(folder: Path) -> None:
    with pytest.raises(BadModel, match="fp32, bf16, int8"):
        Captioner.load(folder, precision="fp8")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", *PRECISIONS[1:]])
def test_compiled_passes_give_the_same_captions(folder: Path, tmp_path: Path, precision: str) -> None:
    plain = Captioner.load(folder, precision=precision)
    plain.write_packages(tmp_path / "compiled")
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    compiled = Captioner.load(tmp_path, precision=precision, compiled=True)
    assert compiled.programs.compiled
    compiled.warm_up()
    pixels = pictures(5)
    for count in (1, 5):
        ours, theirs = (torch.cat([m.cross for m in each.remember(pixels[:count])], 2) for each in (plain, compiled))
        assert torch.cosine_similarity(ours.flatten().float(), theirs.flatten().float(), dim=0) > 0.99
    asks = [
        Ask(max_tokens=20),
        Ask(method="greedy", max_tokens=20),
        Ask(beams=5, groups=1, max_tokens=20),
    ]
    if precision == "fp32":
        assert [c[0].tokens for c in caption_all(compiled, asks)] == [c[0].tokens for c in caption_all(plain, asks)]
    assert all(captions[0].logprob < 0 for captions in caption_all(compiled, asks))
