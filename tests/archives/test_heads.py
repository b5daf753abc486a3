"""The head that is read from weights gives the probabilities of open_clip, or of transformers."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_core.encode.encoded import Encoded
from clip_core.inputs.parsing import parse_row
from clip_core.inputs.request import Accepts
from clip_core.model_spec import ModelSpec
from clip_core.serving.answers import InputResult, render
from gateway.encode.served_model import ServedModel
from gateway.encode.similarity import Head
from gateway.upstream.replies import encode_reply
from scripts.archive.assembly.head import TrainedHead
from scripts.archive.model_source import load
from scripts.archive.resolver import resolve
from tests.archives.forms import TEXTS, write_architecture, write_clip, write_siglip
from tests.checkpoints import VIT, write_checkpoint

SIGMOID = {**VIT, "init_logit_bias": -10}
SCALE, BIAS = math.log(13.0), -4.5
PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def head(source: Path, **given: Any) -> TrainedHead:
    return load(resolve(str(source), precision="fp32", compile=False, **given).source).head


def with_head(file: Path, **numbers: float) -> Path:
    """The same weights with these as `logit_scale` and `logit_bias`."""
    state = load_file(file)
    save_file({**state, **{name: torch.tensor(value) for name, value in numbers.items()}}, file, {"format": "pt"})
    return file


def told(found: TrainedHead) -> Head:
    """As it reaches the gateway: in the spec, in a handler's answer, in what is known of the served model."""
    spec = ModelSpec("m", "text", 2, 77, "f", logit_scale=found.logit_scale, logit_bias=found.logit_bias)
    request = parse_row({"body": b'{"input": "a"}'}, "application/json", Accepts(frozenset({"text"}), "text"))
    vector = InputResult(Encoded(np.array([0.6, 0.8], dtype=np.float32)))
    reply = encode_reply(render(request, [vector], spec, {}).body)
    assert reply is not None
    return Head.of(ServedModel.of(reply))


def same(found: TrainedHead, cosines: torch.Tensor, expected: torch.Tensor) -> bool:
    """Of each picture and all texts, (P, T)."""
    probabilities = np.stack([told(found).probabilities(row) for row in cosines.numpy()])
    return bool(np.abs(probabilities - expected.numpy()).max() < 1e-3)


def units(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=-1)


@pytest.mark.parametrize("bias", [None, BIAS])
def test_open_clips(tmp_path: Path, bias: float | None) -> None:
    folder = write_checkpoint(tmp_path / "m", VIT if bias is None else SIGMOID)
    given = {"logit_scale": SCALE} if bias is None else {"logit_scale": SCALE, "logit_bias": bias}
    with_head(folder / "open_clip_model.safetensors", **given)
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    with torch.inference_mode():
        texts = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
        logits, _ = model.get_logits(PIXELS, texts)
        cosines = model.encode_image(PIXELS, True) @ model.encode_text(texts, True).T
    expected = logits.softmax(-1) if bias is None else logits.sigmoid()
    assert same(head(folder), cosines, expected)


def test_clips_of_transformers(tmp_path: Path) -> None:
    model = write_clip(tmp_path / "m")
    model.logit_scale.data.fill_(SCALE)
    model.save_pretrained(tmp_path / "m")
    with torch.inference_mode():
        found = model(open_clip.get_tokenizer("ViT-B-32")(TEXTS), PIXELS)
    cosines = units(found.image_embeds) @ units(found.text_embeds).T
    assert same(head(tmp_path / "m"), cosines, found.logits_per_image.softmax(-1))


def test_siglips_of_transformers(tmp_path: Path) -> None:
    model = write_siglip(tmp_path / "m")
    model.logit_scale.data.fill_(SCALE)
    model.logit_bias.data.fill_(BIAS)
    model.save_pretrained(tmp_path / "m")
    ids = torch.randint(3, 17, (3, 16), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = model(ids, PIXELS)
    cosines = units(found.image_embeds) @ units(found.text_embeds).T
    assert same(head(tmp_path / "m"), cosines, found.logits_per_image.sigmoid())


def test_the_weights_say_whether_there_is_a_bias(tmp_path: Path) -> None:
    """A file of `open_clip_train --siglip` has one, whatever its architecture says."""
    file = write_checkpoint(tmp_path / "m") / "open_clip_model.safetensors"
    plain, sigmoid = (str(write_architecture(tmp_path / f"{i}.json", c)) for i, c in enumerate((VIT, SIGMOID)))
    with_head(file, logit_scale=SCALE)
    assert head(file, architecture=sigmoid) == TrainedHead(pytest.approx(13), None)
    with_head(file, logit_bias=BIAS)
    assert head(file, architecture=plain) == head(file, architecture=sigmoid) == TrainedHead(pytest.approx(13), BIAS)


@pytest.mark.parametrize(("scale", "bias"), [(1e4, -4.5), (-1e4, -4.5), (3.0, math.nan), (3.0, math.inf)])
def test_numbers_of_no_use_are_left_out(scale: float, bias: float) -> None:
    model = SimpleNamespace(logit_scale=torch.tensor(scale))
    assert TrainedHead.of(model, {"logit_bias": torch.tensor([bias])}) == TrainedHead()
    assert told(TrainedHead()) == Head(100.0, None)
