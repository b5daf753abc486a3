"""docs/client.md and the client's README run as printed; docs/your-own-photos.md names commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from scripts.cli import app

ROOT = Path(__file__).resolve().parents[2]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)


def test_the_page_runs_as_printed(stack_of: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    stack = stack_of(api_keys="secret")
    monkeypatch.setenv("CLIPSERVE_URL", stack.url)
    monkeypatch.setenv("CLIPSERVE_API_KEY", "secret")
    names: dict[str, Any] = {"__name__": "page"}
    for place, block in enumerate(blocks("docs/client.md", "python")):
        exec(compile(block, f"docs/client.md block {place + 1}", "exec"), names)
    assert names["tally"].added == 200
    assert names["found"] == ["n0", "n1", "n2"]
    assert "404 collection_not_found" in capsys.readouterr().out


def test_the_readme_runs_as_printed(stack: Any, capsys: Any) -> None:
    (block,) = blocks("clipserve_client/README.md", "python")
    exec(compile(block.replace("http://127.0.0.1:8000", stack.url), "README", "exec"), {})
    assert capsys.readouterr().out.startswith(("1 ", "2 "))


def test_commands_of_the_photo_page_exist() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    page = (ROOT / "docs" / "your-own-photos.md").read_text(encoding="utf-8")
    for line in "".join(blocks("docs/your-own-photos.md", "bash")).splitlines():
        words = [word for word in shlex.split(line) if "=" not in word]
        options = {name for parameter in commands[words[1]].params for name in parameter.opts}
        assert words[0] == "clipserve"
        assert {word for word in words[2:] if word.startswith("--")} <= options, line
    ingest = {name for parameter in commands["ingest"].params for name in parameter.opts}
    assert {"--prefix", "--gps", "--force", "--report"} <= ingest & set(re.findall(r"--[a-z]+", page))
