"""`clipserve cache`: every worker is asked, whichever one TorchServe gives a request to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clip_core.errors import TorchServeUnavailable
from scripts.cli import app
from scripts.models import management
from scripts.models.row_store import FILE, RowStore, row
from scripts.models.worker_caches import WorkerCaches

STATS = {
    **dict.fromkeys(("entries", "bytes", "hits", "misses", "evictions", "expired", "shared_hits", "shared_errors"), 1),
    "cleared": 3,
    "forgotten": 1,
}


class TwoWorkers:
    """The first one answers more often, as TorchServe has it; `deaf` never does."""

    def __init__(self, deaf: bool = False) -> None:
        self.deaf, self.asked = deaf, list[tuple[str, dict[str, Any]]]()

    def worker_pids(self, _: str) -> list[int]:
        return [1, 2]

    def predict(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((endpoint, body["admin"]))
        second = len(self.asked) % 3 == 0 and not self.deaf
        return {"worker": "9001" if second else "9000", "cache": STATS}


def test_it_is_asked_until_all_have_answered() -> None:
    workers = TwoWorkers()
    assert set(WorkerCaches(workers, "t").ask("clip_text", {"cache": "clear"})) == {"9000", "9001"}  # type: ignore[arg-type]
    assert workers.asked == [("clip_text", {"cache": "clear", "token": "t"})] * 3


def test_a_worker_that_does_not_answer_is_said() -> None:
    with pytest.raises(TorchServeUnavailable, match="only 1 of 2 workers of clip_text"):
        WorkerCaches(TwoWorkers(deaf=True), "t", patience_s=0.1).ask("clip_text", {"cache": "clear"})  # type: ignore[arg-type]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoWorkers:
    workers = TwoWorkers()
    RowStore(tmp_path / FILE).write([row("demo", default=True), row("other")])
    monkeypatch.setattr(management, "Management", lambda *_, **__: workers)
    monkeypatch.setenv("CLIPSERVE_HANDLER_ADMIN_TOKEN", "t")
    monkeypatch.chdir(tmp_path)
    return workers


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["cache", *words, "--data-dir", "."], catch_exceptions=False)
    return done.output


def asked(stack: TwoWorkers) -> set[tuple[str, str]]:
    return {
        (endpoint, json.dumps({name: value for name, value in body.items() if name != "token"}))
        for endpoint, body in stack.asked
    }


def test_one_model_is_cleared_by_its_own_scope(stack: TwoWorkers) -> None:
    assert "other_text: 2 cleared, 6 vectors" in run("clear", "--model", "other")
    kinds = ("text", "image", "multimodal")
    assert asked(stack) == {(f"other_{kind}", '{"cache": "clear", "scope": "model"}') for kind in kinds}


def test_all_are_cleared(stack: TwoWorkers) -> None:
    run("clear")
    assert {body for _, body in asked(stack)} == {'{"cache": "clear", "scope": "all"}'}
    assert len(asked(stack)) == 6


def test_a_text_is_forgotten_where_it_may_be(stack: TwoWorkers, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"bytes")
    run("forget", "a red circle", "--image", "a.jpg", "--model", "demo")
    text, picture = '{"text": "a red circle"}', '{"image": "Ynl0ZXM="}'
    inputs = {"clip_text": text, "clip_image": picture, "clip_multimodal": f"{text}, {picture}"}
    assert asked(stack) == {
        (endpoint, f'{{"cache": "forget", "input": [{given}]}}') for endpoint, given in inputs.items()
    }


def test_stats_are_a_table(stack: TwoWorkers) -> None:
    said = run("stats", "--model", "demo")
    assert said.count("9000") == said.count("9001") == 3
    assert said.count("clip_multimodal") == 2, "names are not cut off in a narrow terminal"
    assert "shared_errors" in said
    assert len(stack.asked) >= 6
