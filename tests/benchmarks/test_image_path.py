"""The image path's benchmark answers as the encoders do, and its shares are of the whole."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.image_path import ImagePath, Laps, measure
from clip_core.encode.encoded import Encoded
from clip_core.inputs.requests import Item, Part
from clip_core.wire import decode_vector
from scripts.tune.requests import photographs


def test_the_timed_steps_give_the_encoders_vector(model_dirs: dict[str, Path]) -> None:
    path, picture = ImagePath(model_dirs["image"], threads=1), photographs()[0]
    body = json.dumps({"input": {"image": base64.b64encode(picture).decode()}}).encode()
    answer = json.loads(path.run(body, Laps()).body)
    (expected,) = path.encoders.encode([Item((Part("image", picture),))], cut_long_texts=[True])
    assert isinstance(expected, Encoded)
    np.testing.assert_allclose(decode_vector(answer["data"][0]["embedding"]), expected.vector, atol=1e-6)


def test_shares_add_up_and_every_step_is_there(model_dirs: dict[str, Path]) -> None:
    rows = measure(ImagePath(model_dirs["image"], threads=1), photographs()[:2], requests=3)
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-3)
    assert [row["step"] for row in rows][1:5] == ["decode", "resize and crop", "tensor", "tower"]
