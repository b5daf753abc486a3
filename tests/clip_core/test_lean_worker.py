"""A worker whose packages fit the machine imports what it serves with, and no more: an import is memory and time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from clip_core.towers.artifacts import DIRECTORY, TowerFacts
from clip_core.towers.compiling import Machine, compile_package

UNUSED = ("open_clip", "torchvision", "timm", "torch._inductor", "torch._dynamo", "sympy", "transformers", "torchao")
INPUTS = """
import json, sys
from pathlib import Path
directory = Path(sys.argv[1])
sys.path.insert(0, str(directory))
import clip_core.serving.admin, clip_core.serving.batch, clip_core.serving.batch_handler
import clip_core.encode.canaries, clip_core.encode.shared_cache
from clip_core.towers import artifacts
from clip_core.encode.encoders import Encoders
from clip_core.inputs.preprocessing import Preprocessing
from clip_core.endpoint_config import EndpointConfig
from clip_core.inputs.tokens import Tokenizer
from PIL import Image
shape = tuple(Preprocessing.from_config(directory / "open_clip_config.json").uint8(Image.new("RGB", (50, 40))).shape)
seen = {"shape": shape, "tokens": Tokenizer.load(directory)("a dog").count}
"""
TOWERS = """
encoders = Encoders.load(directory, EndpointConfig())
encoders.warm_up()
seen["compiled"] = [tower.compiled for tower in (encoders.text, encoders.image) if tower]
"""
LAST = 'print(json.dumps({**seen, "modules": list(sys.modules)}))'


def run(program: str, directory: Path) -> dict[str, object]:
    """What `program` says last, in a process that has imported nothing."""
    command = [sys.executable, "-I", "-c", program, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return seen


def unused(seen: dict[str, object]) -> list[str]:
    modules = seen["modules"]
    assert isinstance(modules, list)
    return [name for name in UNUSED if name in modules]


def test_inputs_are_prepared_without_open_clip(model_dirs: dict[str, Path]) -> None:
    seen = run(INPUTS + LAST, model_dirs["multimodal"])
    assert (seen["shape"], seen["tokens"]) == ([3, 32, 32], 4)
    assert unused(seen) == []


class Mean(nn.Module):
    """Stands for a tower: what a worker imports does not depend on what its package computes."""

    def forward(self, batch: Tensor) -> Tensor:
        return batch.float().flatten(1).mean(dim=1, keepdim=True)


@pytest.mark.slow
def test_a_worker_with_packages_serves_without_open_clip(tmp_path: Path, model_dirs: dict[str, Path]) -> None:
    directory = shutil.copytree(model_dirs["multimodal"], tmp_path / "model")
    spec = json.loads((directory / "model_spec.json").read_text())
    (directory / "model_spec.json").write_text(json.dumps({**spec, "compile": True}))
    (directory / DIRECTORY).mkdir()
    Machine.here().write(directory / DIRECTORY / "machine.json")
    examples = {"image": torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "text": torch.ones(2, 77, dtype=torch.int64)}
    for part, example in examples.items():
        compile_package(Mean(), example, directory / DIRECTORY / f"{part}.pt2")
        TowerFacts("Mean").write(directory / DIRECTORY / f"{part}.json")
    seen = run(INPUTS + TOWERS + LAST, directory)
    assert seen["compiled"] == [True, True]
    assert unused(seen) == []


def test_a_worker_of_a_plain_model_serves_without_open_clip(model_dirs: dict[str, Path]) -> None:
    """Nor does one whose archive has weights only: two thirds of its start would be imports."""
    seen = run(INPUTS + TOWERS + LAST, model_dirs["multimodal"])
    assert seen["compiled"] == [False, False]
    assert unused(seen) == []
