"""Captions by the language model at ingest: in items and jobs, what they cost, and what is never paid for twice."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.assistant.hidden_orders import SCENES
from gateway.schemas.base import tell_once
from scripts.cli import app
from tests.gateway.assistant.conftest import drawn
from tests.gateway.test_ingest_captions import metadata
from tests.waiting import until

ITEMS = "/v1/collections/demo/items"
SAID = "a grey picture with yellow letters"


@pytest.fixture
def captioning(asking: Any, openai_server: Any) -> Any:
    openai_server.reply = lambda _: json.dumps({"caption": SAID})
    return lambda **settings: asking(**{"llm_cache": 0, **settings})


def items(*names: str) -> list[dict[str, Any]]:
    return [{"id": f"new-{name}", "image": drawn(name), "caption": "llm"} for name in names]


def test_items_are_captioned_and_the_same_picture_is_asked_about_once(captioning, openai_server) -> None:
    stack = captioning()
    answer = stack.post(ITEMS, {"items": [*items("a", "b", "c", "d", "e", "f"), {**items("a")[0], "id": "again"}]})
    assert {tuple(each) for each in answer.json()["results"]} == {("id", "status")}
    assert metadata(stack, "new-f") == {"caption": SAID, "caption_by": "m-2025-01-01"}
    assert metadata(stack, "again")["caption"] == SAID
    assert len(openai_server.asked) == 6
    stack.post(ITEMS, {"items": items("a", "b")})
    assert len(openai_server.asked) == 6
    assert openai_server.busiest <= 4


def test_what_was_paid_for_outlives_the_gateway(captioning, openai_server, tmp_path) -> None:
    for _ in range(2):
        stack = captioning(data_dir=tmp_path / "kept")
        assert stack.post(ITEMS, {"items": items("a")}).is_success
        assert metadata(stack, "new-a")["caption"] == SAID
    assert len(openai_server.asked) == 1


@pytest.mark.parametrize(
    ("settings", "failure", "code"),
    [
        ({}, (401, {}), "llm_unauthorized"),
        ({"llm_retries": 0}, (500, {}), "llm_unavailable"),
        ({"llm_retries": 0}, (429, {"retry-after": "1"}), "overloaded"),
        ({}, "refusal", "llm_refused"),
        ({}, "html", "llm_failed"),
        ({"llm_usd_per_day": 0.0}, None, "budget_spent"),
        ({"llm_usd_per_day": 1.0, "llm_model": "nobodys"}, None, "unknown_price"),
        ({"llm_url": "", "llm_model": ""}, None, "no_captioner"),
    ],
)
def test_a_caption_that_fails_is_a_warning_of_its_item(captioning, openai_server, settings, failure, code) -> None:
    stack = captioning(**settings)
    openai_server.failures = [failure]
    first, second = stack.post(ITEMS, {"items": [*items("a"), {"id": "plain", "image": drawn("p")}]}).json()["results"]
    assert (first["status"], first["warning"]["code"]) == (200, code)
    assert second == {"id": "plain", "status": 200}
    assert metadata(stack, "new-a") == {}
    hits = stack.post("/v1/search", {"collection": "demo", "text": "a red circle"}).json()["hits"]
    assert hits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    made.mkdir()
    for name in ("a", "b", "c"):
        (made / f"{name}.png").write_bytes(base64.b64decode(drawn(name)))
    (made / "c.txt").write_text("my own words")
    return made


def test_jobs(captioning, openai_server, folder) -> None:
    stack = captioning(ingest_roots={"photos": folder})
    body = {"collection": "demo", "source": {"folder": "photos"}, "caption": "llm"}
    plan = stack.post("/v1/jobs", {**body, "dry_run": True})
    assert (plan.status_code, plan.json()["total"], plan.json()["estimate"]["items"]) == (200, 3, 3)
    assert plan.json()["estimate"]["cost_usd"] > 0
    assert (openai_server.asked, stack.client.get("/v1/jobs").json()["jobs"]) == ([], [])
    job = stack.post("/v1/jobs", body)
    assert (job.status_code, job.json()["caption"]) == (202, "llm")
    path = f"/v1/jobs/{job.json()['id']}"
    until(lambda: stack.client.get(path).json()["state"] == "completed")
    assert metadata(stack, "a.png")["caption"] == SAID
    assert metadata(stack, "c.png")["caption"] == "my own words"
    assert len(openai_server.asked) == 2


def test_jobs_without_a_language_model_are_refused(stack_of, folder) -> None:
    stack = stack_of(ingest_roots={"photos": folder})
    stack.fill("word")
    body = {"collection": "demo", "source": {"folder": "photos"}, "caption": "llm"}
    assert stack.post("/v1/jobs", body).json()["error"]["code"] == "no_captioner"
    assert stack.post("/v1/jobs", {**body, "caption": "poet"}).json()["error"]["param"] == "caption"
    plain = stack.post("/v1/jobs", {**body, "caption": True, "dry_run": True}).json()
    assert (plain["total"], plain["estimate"]) == (3, None)


def test_the_command(captioning, openai_server, folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stack = captioning()
    arguments = ["ingest", str(folder), "--collection", "demo", "--caption-by", "llm", "--url", stack.url]
    planned = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert planned.stdout.startswith("3 items would be sent to demo; 0 are unchanged, 0 are left out"), planned.output
    assert "2 captions by gpt-4o for at most 0.0" in planned.stdout
    assert openai_server.asked == []
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert metadata(stack, "a.png")["caption"] == SAID
    again = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert again.stdout.startswith("0 items would be sent to demo; 3 are unchanged")


def test_a_run_over_a_collection_has_a_budget_of_its_own(captioning) -> None:
    stack = captioning()
    stack.post(ITEMS, {"items": [{"id": f"n{n}", "image": drawn(f"n{n}")} for n in range(12)]})
    path = "/v1/collections/demo/captions"
    expected = stack.post(path, {"dry_run": True}).json()["estimate"]
    told = stack.post(path, {"max_cost_usd": expected["cost_usd"] / 2}).json()
    assert told["stopped"]["code"] == "budget_spent"
    assert 0 < told["cost_usd"] <= expected["cost_usd"] / 2
    nothing = stack.post(path, {"max_cost_usd": 0.0})
    assert nothing.json()["stopped"]["code"] == "budget_spent"
    assert nothing.json()["captions"] == []


def test_a_folder_gets_captions_beside_its_pictures(captioning, openai_server, folder) -> None:
    stack = captioning()
    arguments = ["caption-folder", str(folder), "--url", stack.url]
    planned = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert planned.stdout.startswith("2 captions by gpt-4o for at most 0.0"), planned.output
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "away.png").symlink_to(folder / "nowhere.png")
    little = CliRunner().invoke(app, [*arguments, "--max-cost-usd", "0.000001"])
    assert (little.exit_code, openai_server.asked) == (1, [])
    run = CliRunner().invoke(app, arguments)
    assert run.stdout.startswith("2 captions by gpt-4o for 0.0"), run.output
    assert "2 failed" in run.stdout
    assert (folder / "a.txt").read_text() == f"{SAID}\n"
    assert (folder / "c.txt").read_text() == "my own words"
    assert len(openai_server.asked) == 2
    assert CliRunner().invoke(app, [*arguments, "--dry-run"]).stdout.startswith("2 captions by")


def test_captions_of_pictures_with_the_same_name_are_kept_apart(captioning, openai_server, tmp_path) -> None:
    stack, photos = captioning(), tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "a.webp", "b.png", "told.png"):
        (photos / name).write_bytes(base64.b64decode(drawn(name)))
    (photos / "told.png.txt").write_text("my own words")
    run = CliRunner().invoke(app, ["caption-folder", str(photos), "--url", stack.url])
    assert run.stdout.startswith("3 captions by gpt-4o for 0.0"), run.output
    assert {path.name for path in photos.glob("*.txt")} == {"a.png.txt", "a.webp.txt", "b.txt", "told.png.txt"}
    assert (photos / "told.png.txt").read_text() == "my own words"
    again = CliRunner().invoke(app, ["caption-folder", str(photos), "--url", stack.url])
    assert len(openai_server.asked) == 3, again.output


def test_a_folder_is_read_as_ingest_reads_it(captioning, tmp_path) -> None:
    """Hidden files are passed over, pipes are not waited for, AVIF is converted, names may be any."""
    stack, photos = captioning(), tmp_path / "photos"
    (photos / ".thumbnails").mkdir(parents=True)
    (photos / "linked").symlink_to(photos)
    for name in (".thumbnails/a.png", "._a.png", os.fsdecode(b"caf\xe9.png")):
        (photos / name).write_bytes(base64.b64decode(drawn("a")))
    Image.new("RGB", (40, 30), "red").save(photos / "b.avif")
    os.mkfifo(photos / "pipe.jpg")
    run = CliRunner().invoke(app, ["caption-folder", str(photos), "--url", stack.url])
    assert run.stdout.startswith("2 captions by gpt-4o"), run.output
    assert "1 failed" in run.stdout
    assert f"{photos}/pipe.jpg: not a file" in run.stderr.replace("\n", "")
    assert {path.name for path in photos.rglob("*.txt")} == {os.fsdecode(b"caf\xe9.txt"), "b.txt"}


def test_captions_of_given_pictures_are_items_of_the_key(captioning, openai_server, caplog) -> None:
    tell_once.cache_clear()
    stack = captioning(items_per_minute=len(SCENES) + 2)
    assert stack.post("/v1/captions/llm", {"images": [drawn("a"), drawn("b")]}).status_code == 200
    assert "old name" not in caplog.text
    answer = stack.post("/v1/captions/assistant", {"images": [drawn("c")]})  # its name in 0.1
    assert (answer.status_code, answer.json()["error"]["code"], len(openai_server.asked)) == (429, "rate_limited", 2)
    assert "/v1/captions/assistant is an old name: write /v1/captions/llm" in caplog.text


def test_captions_that_a_budget_refuses_cost_no_items(captioning) -> None:
    stack = captioning(items_per_minute=50, llm_usd_per_day=0.0)
    answer = stack.post("/v1/captions/llm", {"images": [drawn("a"), drawn("b")]})
    assert [each["error"]["code"] for each in answer.json()["data"]] == ["budget_spent"] * 2
    assert answer.headers["x-ratelimit-remaining-items"] == str(50 - len(SCENES))


def test_a_budget_ends_a_folder_and_it_goes_on(captioning, openai_server, folder) -> None:
    stack = captioning(llm_usd_per_day=0.0)
    run = CliRunner().invoke(app, ["caption-folder", str(folder), "--url", stack.url])
    assert run.exit_code == 1
    assert "stopped: " in run.stdout
    offline = CliRunner().invoke(app, ["caption-folder", str(folder), "--url", stack.url, "--offline"])
    assert offline.stdout.startswith("2 captions by captioner"), offline.output
    assert openai_server.asked == []


def test_a_folders_budget_without_a_price_and_with_failures(captioning, openai_server, folder) -> None:
    stack = captioning(llm_model="mystery-7b")
    run = CliRunner().invoke(app, ["caption-folder", str(folder), "--max-cost-usd", "1", "--url", stack.url])
    assert (run.exit_code, openai_server.asked) == (1, [])
    assert "there is no price of mystery-7b" in str(run.exception)
    openai_server.reply = lambda _: "x"
    failed = CliRunner().invoke(app, ["caption-folder", str(folder), "--url", captioning().url])
    assert "0 captions by gpt-4o for 0.0" in failed.output
    assert "for 0.0000 USD, 2 failed" not in failed.output
