"""The program that `helm test` runs, against a gateway in front of the fakes."""

from __future__ import annotations

import base64
import importlib.util
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

PROGRAM = Path(__file__).resolve().parents[2] / "docker" / "main_job.py"


@pytest.fixture
def program(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("main_job", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.KEYS = tmp_path / "keys"  # type: ignore[attr-defined]
    module.KEYS.write_text("first,second\n")
    return module


def test_it_leaves_nothing_behind(program: ModuleType, stack_of: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stack = stack_of(api_keys="first,second")
    assert program.main(stack.url) == 0
    assert "filled, searched and dropped; a picture was captioned: a picture of" in capsys.readouterr().out
    assert stack.index.collections == {}


def test_a_model_without_a_captioner(program: ModuleType, stack_of: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stack = stack_of(api_keys="first,second", caption_endpoint="")
    assert program.main(stack.url) == 0
    assert "demo has no captioner" in capsys.readouterr().out


def test_its_picture_is_one(program: ModuleType) -> None:
    with Image.open(io.BytesIO(base64.b64decode(program.picture(8)))) as image:
        assert (image.format, image.size, image.getpixel((3, 3))) == ("PNG", (8, 8), (255, 0, 0))


def test_a_key_that_is_refused(program: ModuleType, stack_of: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stack = stack_of(api_keys="another")
    assert program.main(stack.url) == 1
    assert "answered 401" in capsys.readouterr().out


def test_an_index_that_is_away(program: ModuleType, stack_of: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stack = stack_of(api_keys="first")
    stack.index.down = True
    assert program.main(stack.url) == 1
    assert "answered 503" in capsys.readouterr().out


def test_nobody_there(program: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main("http://127.0.0.1:1") == 1
    assert capsys.readouterr().out.startswith("http://127.0.0.1:1: ")
