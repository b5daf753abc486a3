"""The examples of CONTRIBUTING.md, run."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from gateway.app import build
from gateway.settings import GatewaySettings
from index_service.engines.base import NO_ROW
from index_service.engines.exact.segment import ExactBackend
from scripts.archive.model_source import ModelSource
from tests.gateway.fake_index import FakeIndex
from tests.gateway.fakes import FakeTorchServe, embed, serving
from tests.index_service.helpers import unit_rows

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = dict(
    section.split("\n", 1)  # title, text
    for section in re.split(r"^##+ ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
)


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SECTIONS[title], re.DOTALL)


def run(title: str, **known: Any) -> dict[str, Any]:
    (code,) = blocks(title, "python")
    left = {"__name__": "example", **known}
    exec(compile(code, f"CONTRIBUTING.md: {title}", "exec"), left)
    return left


def test_the_engine_finds_what_the_exact_one_finds() -> None:
    left = run("An index engine")
    vectors, queries = unit_rows(500, 16), unit_rows(5, 16, seed=1)
    ours, exact = left["PlainBackend"]().build(vectors), ExactBackend().build(vectors)
    for mask in (None, np.arange(500) % 3 == 0, np.arange(500) < 4):
        scores, found = ours.search(queries, 10, mask)
        expected_scores, expected = exact.search(queries, 10, mask)
        np.testing.assert_array_equal(found, expected[:, expected[0] != NO_ROW])
        np.testing.assert_array_equal(scores, expected_scores[:, expected[0] != NO_ROW])
    assert ours.cost(2) == exact.cost(2)


def test_the_dialect_answers(tmp_path: Path) -> None:
    left = run("An API dialect")
    torchserve = FakeTorchServe(FakeIndex())
    with serving(torchserve.app()) as url:
        urls = {"torchserve_url": url, "management_url": url, "metrics_url": url}
        app = build(GatewaySettings(**urls, data_dir=tmp_path))
        app.router.routes.extend(left["router"].routes)
        with serving(app, lifespan="on") as gateway:
            for inputs, words in (("a", ["a"]), (["a", "b"], ["a", "b"])):
                answer = httpx.post(f"{gateway}/embed", json={"inputs": inputs})
                assert answer.status_code == 200, answer.text
                np.testing.assert_array_equal(np.float32(answer.json()), [embed(word) for word in words])
            assert httpx.post(f"{gateway}/embed", json={"inputs": [1]}).json()["error"]["param"] == "inputs[0]"


def test_the_model_is_one_that_open_clip_knows(tmp_path: Path) -> None:
    (text,) = blocks("A model", "yaml")
    (tmp_path / "model.yaml").write_text(text, encoding="utf-8")
    source = ModelSource.read(tmp_path)
    spec = find_spec("open_clip")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    assert (package / "model_configs" / f"{source.architecture}.json").is_file()
    assert f"{source.pretrained}=" in (package / "pretrained.py").read_text(encoding="utf-8")
    assert f"archive build {source.name}" in SECTIONS["A model"]


def test_the_setting_is_read_and_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = run("A setting", GatewaySettings=GatewaySettings)["MoreSettings"]
    assert settings().slow_s == 2
    (name,) = set(re.findall(r"`(CLIPSERVE_GATEWAY_\w+)`", SECTIONS["A setting"]))
    monkeypatch.setenv(name, "0.5")
    assert settings().slow_s == 0.5


@pytest.mark.parametrize("title", SECTIONS)
def test_the_names_in_files_are_there(title: str) -> None:
    for name, file in re.findall(r"`(\w+)` in\s+`([\w/]+\.py)`", SECTIONS[title]):
        assert re.search(rf"^{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}: {name}"


@pytest.mark.parametrize("title", SECTIONS)
def test_the_commands_can_be_run(title: str) -> None:
    for block in blocks(title, "(?:bash|console)"):
        for word in shlex.split(block.replace("$ ", "")):
            file, _, name = word.partition("::")
            if file.startswith("tests/"):
                assert (ROOT / file).exists(), file
                assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), word
        for module in re.findall(r"-m (\w+)", block):
            assert find_spec(module) is not None, module
        for target in re.findall(r"\bmake (\w+)", block):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), target
