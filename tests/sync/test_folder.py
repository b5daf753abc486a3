"""`clipserve sync` of a folder: the collection is what the folder is, whatever happened to either."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipserve_client import Client
from clipserve_client.sources.entries import SourceError
from scripts.cli import app
from scripts.sync.present import state_of
from tests.gateway.conftest import Stack
from tests.gateway.fakes import embed, picture
from tests.sync.conftest import run


def put(folder: Path, **words: str) -> None:
    for name, word in words.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(word))


def kept(stack: Stack) -> dict[str, Any]:
    return stack.index.collections["photos"]["items"]


def encoded(stack: Stack) -> int:
    """How many calls with pictures TorchServe had since the last look; texts are canaries."""
    found = sum(endpoint != "clip_text" for endpoint, _ in stack.torchserve.calls)
    stack.torchserve.calls.clear()
    return found


def test_a_folder_is_followed(client: Client, stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "a", one="red", sub__two="blue", three="green")
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*.png")}
    summary, _ = run(client, tmp_path / "a")
    assert summary.counts == {"added": 3}
    assert run(client, tmp_path / "a")[0].counts == {"unchanged": 3}
    encoded(stack)
    put(tmp_path / "a", one="pink", four="black")
    (tmp_path / "a" / "sub" / "two.png").rename(tmp_path / "a" / "renamed.png")
    (tmp_path / "a" / "three.png").unlink()
    _, seen = run(client, tmp_path / "a")
    assert seen.told() == [
        ("added", "four.png"), ("changed", "one.png"), ("moved", "renamed.png"), ("removed", "three.png"),
    ]  # fmt: skip
    assert next(each.was for each in seen.changes if each.did == "moved") == "sub/two.png"
    words = {"one.png": "pink", "renamed.png": "blue", "four.png": "black"}
    assert set(kept(stack)) == set(words)
    for item_id, word in words.items():
        item = kept(stack)[item_id]
        assert abs(item["vector"] - embed(word)).max() < 1e-6
        assert (item["metadata"]["file"], item["metadata"]["original_file"]["path"]) == (item_id, item_id)
    assert before[tmp_path / "a" / "one.png"] == picture("red")


def test_moves_and_copies_are_not_encoded_again(client: Client, stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    put(folder, one="red", two="blue")
    run(client, folder)
    client.update_item("photos", "one.png", {"stars": 5})
    encoded(stack)
    (folder / "one.png").rename(folder / "uno.png")
    shutil.copy(folder / "two.png", folder / "dos.png")
    summary, seen = run(client, folder)
    assert (seen.told(), summary.reused, encoded(stack)) == ([("added", "dos.png"), ("moved", "uno.png")], 2, 0)
    assert kept(stack)["uno.png"]["metadata"]["stars"] == 5, "what others wrote moves along"
    assert client.call("GET", "/v1/collections/photos/items/uno.png")["metadata"]["digest"]


def test_metadata_changes_alone(client: Client, stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "a", one="red", two="blue")
    (tmp_path / "a" / "one.json").write_text('{"caption": "A", "tags": {"x": 1, "y": 2}, "old": true}')
    run(client, tmp_path / "a")
    client.update_item("photos", "one.png", {"stars": 5})
    encoded(stack)
    (tmp_path / "a" / "one.json").write_text('{"tags": {"x": 3}, "new": 1}')
    (tmp_path / "a" / "two.txt").write_text("two lines")
    _, seen = run(client, tmp_path / "a")
    assert (seen.told(), encoded(stack)) == ([("changed", "one.png"), ("changed", "two.png")], 0)
    told = kept(stack)["one.png"]["metadata"]
    assert {name: told.get(name) for name in ("caption", "tags", "old", "new", "stars")} == {
        "caption": None, "tags": {"x": 3}, "old": None, "new": 1, "stars": 5,
    }  # fmt: skip
    assert kept(stack)["two.png"]["metadata"]["caption"] == "two lines"
    os.utime(tmp_path / "a" / "one.png")
    assert run(client, tmp_path / "a")[0].counts == {"unchanged": 2}
    assert encoded(stack) == 0


def test_a_dry_run_says_the_same_and_does_nothing(client: Client, stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    put(folder, copy="red")
    put(folder, one="red", two="blue", three="green")
    assert run(client, folder, dry_run=True)[1].told()[0] == ("added", "copy.png")  # of the same content
    (folder / "copy.png").unlink()
    assert run(client, folder, dry_run=True)[1].told() == [("added", f"{name}.png") for name in ("one", "three", "two")]
    assert stack.index.collections == {}
    run(client, folder)
    before = json.dumps({name: item["metadata"] for name, item in kept(stack).items()}, sort_keys=True)
    put(folder, one="pink")
    (folder / "two.png").rename(folder / "zwei.png")
    (folder / "three.png").unlink()
    dry = run(client, folder, dry_run=True)[1].told()
    assert json.dumps({name: item["metadata"] for name, item in kept(stack).items()}, sort_keys=True) == before
    assert dry == run(client, folder)[1].told() == [
        ("changed", "one.png"), ("moved", "zwei.png"), ("removed", "three.png"),
    ]  # fmt: skip


def test_bad_pictures_stop_nothing(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    put(folder, one="red", bad="bad", two="blue")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.pdf").write_bytes(b"x")
    (folder / "no.png").write_bytes(b"no picture")
    _, seen = run(client, folder)
    assert set(seen.told("added")) >= {("added", "one.png"), ("added", "two.png")}
    codes = {each.id: each.code for each in seen.changes if each.did in ("skipped", "failed")}
    assert codes["empty.png"] == "empty file"
    assert codes["no.png"] == "invalid_image"
    assert codes["notes.pdf"] == "not a picture (.pdf)"
    put(folder, no="now it is one")
    assert ("added", "no.png") in run(client, folder)[1].told()


def test_a_source_that_empties_itself_removes_nothing(client: Client, stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    put(folder, **{f"p{number}": f"word {number}" for number in range(30)})
    run(client, folder)
    for path in list(folder.iterdir())[:20]:
        path.unlink()
    put(folder, new="new")
    summary, _ = run(client, folder)
    assert (summary.counts["added"], summary.counts["kept"], len(kept(stack))) == (1, 20, 31)
    assert "20 of 31 items are gone" in summary.refused
    shutil.rmtree(folder)
    with pytest.raises(SourceError, match="no folder"):
        run(client, folder)
    folder.mkdir()
    summary, _ = run(client, folder, remove_at_most=1)
    assert ("empty" in summary.refused, len(kept(stack))) == (True, 31)
    assert run(client, folder, allow_empty=True)[0].counts == {"removed": 31}
    assert kept(stack) == {}


def test_what_is_below_an_unreadable_folder_is_not_gone(client: Client, stack: Stack, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "a", tmp_path / "disk"
    put(folder, one="red")
    put(elsewhere, two="blue")
    (folder / "linked").symlink_to(elsewhere)
    run(client, folder)
    elsewhere.rename(tmp_path / "away")
    put(folder, copy="blue")
    _, seen = run(client, folder)
    assert seen.told("added", "moved", "removed", "skipped") == [("added", "copy.png"), ("skipped", "linked")]
    assert set(kept(stack)) == {"one.png", "copy.png", "linked/two.png"}


def test_a_folder_that_can_not_be_listed_ends_it(
    client: Client, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a", one="red")
    run(client, tmp_path / "a")

    def closed(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(SourceError, match="can't be read: Permission denied"):
        run(client, tmp_path / "a")
    assert set(kept(stack)) == {"one.png"}


def test_other_items_are_left_alone(client: Client, stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "a", one="red", two="blue")
    put(tmp_path / "b", one="green")
    client.create_collection("photos")
    stack.client.post("/v1/collections/photos/items", json={"items": [{"id": "two.png", "text": "mine"}]})
    assert run(client, tmp_path / "a")[1].told() == [("added", "one.png"), ("failed", "two.png")]
    assert run(client, tmp_path / "b")[1].told() == [("failed", "one.png")]
    assert run(client, tmp_path / "b", prefix="b/")[1].told() == [("added", "b/one.png")]
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").mkdir()
    run(client, tmp_path / "a", allow_empty=True)
    assert set(kept(stack)) == {"two.png", "b/one.png"}


def test_what_was_ingested_is_taken_over(client: Client, stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "a", one="red", two="blue")
    words = ["ingest", str(tmp_path / "a"), "--collection", "photos", "--url", stack.url]
    assert CliRunner().invoke(app, words).exit_code == 0
    encoded(stack)
    summary, _ = run(client, tmp_path / "a")
    assert (summary.counts, encoded(stack)) == ({"unchanged": 2}, 0)
    assert all(state_of(item["metadata"]) for item in kept(stack).values())
    (tmp_path / "a" / "one.png").unlink()
    assert run(client, tmp_path / "a")[1].told() == [("removed", "one.png")]


def test_items_that_somebody_deleted_come_back(client: Client, tmp_path: Path) -> None:
    put(tmp_path / "a", one="red", two="blue")
    run(client, tmp_path / "a")
    client.delete_item("photos", "one.png")
    assert run(client, tmp_path / "a")[1].told() == [("added", "one.png")]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_gives_metadata(client: Client, stack: Stack, tmp_path: Path, kind: str) -> None:
    import pyarrow
    from pyarrow import parquet

    put(tmp_path / "a", one="red", two="blue")
    rows = [{"file": "one.png", "year": 2024, "by": "Ann", "zip": "00123"}, {"file": "gone.png", "year": 1999}]
    path = tmp_path / f"about.{kind}"
    if kind == "csv":
        path.write_text("\ufefffile,year,by,zip\none.png,2024,Ann,00123\ngone.png,1999,,\n", encoding="utf-8")
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    _, seen = run(client, tmp_path / "a", manifest=str(path))
    assert seen.told() == [("added", "one.png"), ("added", "two.png"), ("skipped", "gone.png")]
    told = kept(stack)["one.png"]["metadata"]
    assert (told["year"], told["by"], told["zip"]) == (2024, "Ann", "00123")
    assert run(client, tmp_path / "a", manifest=str(path))[0].counts["unchanged"] == 2
    encoded(stack)
    assert run(client, tmp_path / "a")[1].told() == [("changed", "one.png")]
    assert ("year" in kept(stack)["one.png"]["metadata"], encoded(stack)) == (False, 0)


def test_a_manifest_that_can_not_be_read_changes_nothing(client: Client, stack: Stack, tmp_path: Path) -> None:
    put(tmp_path / "a", one="red")
    run(client, tmp_path / "a")
    for name, content in {
        "a.parquet": b"PAR1 no",
        "b.csv": b"x,y\n1,2\n",
        "c.xlsx": b"",
        "d.csv": b"file\n\xff",
        "half-written.csv": b"",
        "header.csv": b"name,year\n",
        "nameless.csv": b"file,year\n,1999\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=r"[Mm]anifest"):
            run(client, tmp_path / "a", manifest=str(tmp_path / name))
    assert set(kept(stack)) == {"one.png"}


def test_an_id_that_can_not_be_removes_nothing(client: Client, stack: Stack, tmp_path: Path) -> None:
    """The picture is there; only what the manifest calls it is wrong."""
    put(tmp_path / "a", one="red", two="blue", three="green")
    run(client, tmp_path / "a")
    (tmp_path / "m.csv").write_text(f"file,id\none.png,same\nthree.png,same\ntwo.png,{'i' * 600}\n")
    _, seen = run(client, tmp_path / "a", manifest=str(tmp_path / "m.csv"))
    assert seen.told("removed") == []
    assert set(kept(stack)) == {"same", "three.png", "two.png"}


def test_metadata_that_is_no_json_is_noted(client: Client, tmp_path: Path) -> None:
    put(tmp_path / "a", one="red")
    (tmp_path / "m.csv").write_text("file,metadata\none.png,{no\n")
    _, seen = run(client, tmp_path / "a", manifest=str(tmp_path / "m.csv"))
    assert [list(each.notes) for each in seen.changes] == [["no object in JSON: the manifest's metadata"]]


def test_the_command_reports(stack: Stack, tmp_path: Path) -> None:
    folder, report = tmp_path / "a", tmp_path / "report.jsonl"
    put(folder, one="red", two="blue")
    words = ["sync", str(folder), "--collection", "photos", "--url", stack.url]
    shown = CliRunner().invoke(app, [*words, "--dry-run"])
    assert (shown.exit_code, "added    one.png" in shown.output) == (0, True), shown.output
    (folder / "no.png").write_bytes(b"no picture")
    assert CliRunner().invoke(app, [*words, "--report", str(report)]).exit_code == 1
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted((line["outcome"], line["id"]) for line in lines) == [
        ("added", "one.png"), ("added", "two.png"), ("failed", "no.png"),
    ]  # fmt: skip
    for path in folder.iterdir():
        path.unlink()
    refused = CliRunner().invoke(app, words)
    assert (refused.exit_code, "--allow-empty" in refused.output) == (3, True)
    assert CliRunner().invoke(app, [*words, "--dry-run", "--watch"]).exit_code == 2
    missing = CliRunner().invoke(app, ["sync", str(tmp_path / "none"), *words[2:]])
    assert missing.exit_code == 1
    file = CliRunner().invoke(app, ["sync", str(report), *words[2:]])
    assert "is a file: a folder or a bucket is followed" in str(file.exception)


def test_an_empty_folder_and_nothing_of_it_is_said(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = ["sync", str(tmp_path / "empty"), "--collection", "photos", "--url", stack.url]
    for more in ([], ["--dry-run"]):
        shown = CliRunner().invoke(app, [*words, *more])
        assert (shown.exit_code, "sync photos: the source has no pictures" in shown.output) == (0, True), shown.output
    assert "photos" not in stack.index.collections


@pytest.mark.slow
def test_killed_at_any_moment_the_end_is_the_same(stack: Stack, client: Client, tmp_path: Path) -> None:
    """Ten kills while a folder of moves, changes, additions and removals is synced, each after one to three calls."""
    folder, dice = tmp_path / "a", random.Random(7)
    put(folder, **{f"p{number}": f"word {number}" for number in range(400)})
    run(client, folder)
    for number in range(400):
        path = folder / f"p{number}.png"
        if number % 4 == 0:
            path.rename(folder / f"moved{number}.png")
        elif number % 4 == 1:
            path.write_bytes(picture(f"changed {number}"))
        elif number % 8 == 2:
            path.unlink()
    put(folder, **{f"new{number}": f"fresh {number}" for number in range(200)})
    command = [sys.executable, "-m", "scripts", "sync", str(folder), "--collection", "photos", "--url", stack.url]
    kills = 0
    for _ in range(10):
        stack.index.calls.clear()
        calls, pause_s = dice.randint(1, 3), dice.uniform(0, 0.1)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and len(stack.index.calls) < calls:
                time.sleep(0.001)
            time.sleep(pause_s)
            if process.poll() is None:
                kills += 1
                process.send_signal(signal.SIGKILL)
    assert kills, "no run was cut short"
    run(client, folder)
    words = {path.name: path.read_bytes().removeprefix(picture("")).decode() for path in folder.iterdir()}
    assert set(kept(stack)) == set(words)
    assert all(abs(item["vector"] - embed(words[name])).max() < 1e-6 for name, item in kept(stack).items())
    assert run(client, folder)[0].counts == {"unchanged": len(words)}
