"""`clipserve search --rerank`: what it refuses, and what it says of an order."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from scripts.cli import app
from scripts.demo.search_table import show_search

TOLD = {"by": "tree", "applied": True, "scored": 3, "candidates": 20, "ms": 1.0, "budget_spent": None, "note": None}


@pytest.mark.parametrize("option", ["--candidates", "--budget-ms"])
def test_options_of_no_reranking(option: str) -> None:
    done = CliRunner().invoke(app, ["search", "a star", option, "5"])
    assert done.exit_code == 2
    assert "--rerank" in done.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "reranked 3 of 20 by tree in 1.0 ms"),
        ({"missing": ["no star"]}, "in 1.0 ms; the first hit does not fit “no star”"),
        ({"applied": False, "note": "no captioner"}, "not reranked by tree in 1.0 ms: no captioner"),
        ({"budget_spent": "ms"}, "the budget of ms was spent"),
    ],
)
def test_what_is_said_of_an_order(more: dict[str, Any], said: str) -> None:
    answer = SimpleNamespace(hits=[], raw={"timing": {}}, rerank={**TOLD, **more})
    client: Any = SimpleNamespace(search=lambda *_, **__: answer)
    console = Console(file=StringIO(), width=200)
    show_search(client, console, "demo", "a star", rerank={"by": "tree"})
    assert said in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_a_caller_wrote_does_nothing_to_the_terminal() -> None:
    hit = SimpleNamespace(id="a\x1b[2J  b.jpg", score=0.5, metadata={"caption": "two\nlines\x1b]0;x\x07"})
    answer = SimpleNamespace(hits=[hit], raw={"timing": {}}, rerank=None)
    client: Any = SimpleNamespace(search=lambda *_, **__: answer)
    console = Console(file=StringIO(), width=200)
    show_search(client, console, "demo", "a star")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert r"a\x1b[2J  b.jpg" in shown
    assert r"two lines\x1b]0;x\x07" in shown
