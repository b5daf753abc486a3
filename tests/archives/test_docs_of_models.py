"""docs/models.md: commands and blocks run as printed, on small models of the names that it uses."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from scripts.archive.resolver import resolve
from scripts.cli import app
from tests.archives.forms import write_clip
from tests.checkpoints import write_checkpoint

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
CODE = re.compile(r"```(\w+)\n(.*?)```", re.S)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what the page's commands name."""
    monkeypatch.chdir(tmp_path)
    weights = load_file(write_checkpoint(tmp_path / "my-model") / "open_clip_model.safetensors")
    (tmp_path / "logs" / "run" / "checkpoints").mkdir(parents=True)
    epoch = {"epoch": 3, "state_dict": {"module." + key: value for key, value in weights.items()}}
    torch.save(epoch, tmp_path / "logs" / "run" / "checkpoints" / "epoch_3.pt")
    torch.save(weights, tmp_path / "weights.pt")
    (tmp_path / "tiny.json").write_text(blocks("An architecture and a tokenizer of your own", "json")[0])
    (tmp_path / "logs" / "run" / "params.txt").write_text(f"model: {tmp_path / 'tiny.json'}\n")
    write_clip(tmp_path / "my-clip")
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg")
    (tmp_path / "shoes").mkdir()
    return tmp_path


def blocks(title: str, language: str) -> list[str]:
    return [code for found, code in CODE.findall(SECTIONS[title]) if found == language]


def run(line: str) -> str:
    """Our commands in this process, which has imported torch already; others by a shell."""
    if line.startswith("clipserve "):
        done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception}"
        return done.output
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shell = subprocess.run(line, shell=True, env=environment, capture_output=True, text=True)
    assert shell.returncode == 0, f"{line}\n{shell.stdout}\n{shell.stderr}"
    return shell.stdout


def commands(title: str) -> list[str]:
    return [
        line.removeprefix("$ ") for code in blocks(title, "console") for line in code.splitlines() if line[:2] == "$ "
    ]


def test_folders_of_ones_own(place: Path) -> None:
    build, _, show, own = commands("What runs from what")
    text = blocks("What runs from what", "console")[1].split("\n", 1)[1].rsplit("$", 1)[0]
    (place / "shoes" / "model.yaml").write_text(text)
    store = f" --model-store {place / 'store'}"
    assert "clip_multimodal.mar" in run(build + store)
    assert run(show) == text
    run(own + store)
    assert "shoes" in run(f"clipserve archive list --model-store {place / 'store'}")


def test_fine_tuned_weights(place: Path) -> None:
    for line in commands("Fine-tuned weights"):
        assert "clip_text.mar" in run(f"{line} --model-store {place / 'store'}")


@pytest.mark.usefixtures("place")
def test_the_archiver_alone() -> None:
    title = "Without our command line: torch-model-archiver"
    (block,) = blocks(title, "python")
    exec(compile(block, "docs/models.md", "exec"), {})
    *make, verify = commands(title)
    for line in make:
        run(line)
    assert "clip_text.mar" in run(verify)


@pytest.mark.usefixtures("place")
def test_a_picture_as_the_page_prepares_it() -> None:
    names: dict[str, Any] = {}
    exec(blocks("What is done to a picture before open_clip's transform", "python")[0], names)
    assert names["picture"].size == (40, 30)


def test_every_form_of_the_table_is_understood(place: Path) -> None:
    (place / "my-siglip").mkdir()
    found = re.findall(r"\| `clipserve archive build ([^`]+)` \|", SECTIONS["What runs from what"])
    assert len(found) == 8
    for line in found:
        model, *options = line.split()
        source = resolve(model, **({"architecture": options[1]} if options else {})).source
        assert source.checkpoint or source.hub or source.pretrained
