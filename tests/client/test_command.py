"""`clipserve ingest`, `search` and the demo's filling, against the gateway in front of its fakes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from clipserve_client import Client
from scripts.cli import app
from scripts.demo import demo_collection
from scripts.stack.waiting_collections import tell_waiting
from tests.gateway.fakes import picture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "2024"
    folder.mkdir(parents=True)
    for n in range(40):
        (folder / f"{n}.png").write_bytes(picture(str(n)))
    (folder / "film.mp4").touch()
    return folder.parent


def clipserve(stack: Any, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--url", stack.url], env={"COLUMNS": "120"})


def test_it_says_what_was_left_out_and_writes_a_report(stack: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"x")
    (photos / "empty.png").touch()
    ran = clipserve(stack, "ingest", str(photos), "--collection", "p", "--report", str(tmp_path / "r.jsonl"))
    assert ran.exit_code == 1
    for words in (
        "added",
        "not a picture (.mp4)",
        "invalid_image",
        "not ingested bad.png: ",
        "skipped empty.png: empty file",
        "40 of 43 items are in p",
    ):
        assert words in ran.output
    assert len([json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]) == 43
    (photos / "bad.png").unlink()
    assert "unchanged" in clipserve(stack, "ingest", str(photos), "--collection", "p").output
    assert "12" in clipserve(stack, "search", "12", "--collection", "p", "--k", "1").output


def test_it_names_the_first_twenty_of_what_is_not_in(stack: Any, tmp_path: Path) -> None:
    for n in range(25):
        (tmp_path / f"empty{n:02}.jpg").touch()
        (tmp_path / f"bad{n:02}.jpg").write_bytes(b"x")
    (tmp_path / "[red]z.jpg").touch()
    output = clipserve(stack, "ingest", str(tmp_path), "--collection", "p").output
    assert "skipped [red]z.jpg: empty file" in output
    assert "empty18.jpg" in output
    assert "empty19.jpg" not in output
    assert "bad19.jpg" in output
    assert "bad20.jpg" not in output
    assert "… and 6 more; --report FILE names all" in output
    assert "… and 5 more; --report FILE names all" in output


def test_a_report_that_can_not_be_written_is_one_line(stack: Any, photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.cli", "ingest", str(photos), "--collection", "p", "--url", stack.url]
    ran = subprocess.run([*command, "--report", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"the report {tmp_path} can't be written" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "p" not in stack.index.collections


def test_an_empty_path_is_not_the_current_folder(stack: Any, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `clipserve ingest "$UNSET"` gives."""
    monkeypatch.chdir(photos)
    for sources in ([""], [str(photos), ""]):
        ran = clipserve(stack, "ingest", *sources, "--collection", "p")
        assert ran.exit_code == 2
        assert "it is empty" in ran.output
    assert "p" not in stack.index.collections
    assert "40 of 41 items are in p" in clipserve(stack, "ingest", ".", "--collection", "p").output


@pytest.mark.parametrize("name", ["a/b", "", "-x", "ü", "n" * 65])
def test_a_name_that_no_collection_may_have_is_refused_at_once(stack: Any, photos: Path, name: str) -> None:
    ran = clipserve(stack, "ingest", str(photos), "--collection", name)
    assert ran.exit_code == 2
    assert "is no name" in ran.output


@pytest.mark.parametrize("name", ["broken.tar", "late.parquet", "empty", "films"])
def test_no_empty_collection_stays_behind(stack: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "broken.tar":
        path.write_bytes(tarfile.TarInfo("a.png").tobuf() + b"x" * 1000)
    elif name == "late.parquet":
        pq.write_table(pa.table({"image": [picture("a") * 1000]}), path, compression="none", use_dictionary=False)
        path.write_bytes(path.read_bytes()[:4] + b"\xff" * 64 + path.read_bytes()[68:])
    else:
        path.mkdir()
        (path / "film.mp4").touch()
    clipserve(stack, "ingest", str(path), "--collection", "p")
    assert "p" not in stack.index.collections
    if name == "films":
        (path / "a.png").write_bytes(picture("a"))
        assert "added" in clipserve(stack, "ingest", str(path), "--collection", "p").output
        assert "unchanged" in clipserve(stack, "ingest", str(path), "--collection", "p").output


def test_tars_parquet_files_and_lists_of_urls(stack: Any, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for n in range(3):
            content = picture(f"tar{n}")
            info = tarfile.TarInfo(f"{n}.png")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    pq.write_table(pa.table({"id": ["x", "y"], "text": ["a star", "a dot"]}), tmp_path / "t.parquet")
    (tmp_path / "urls.txt").write_text("https://example.org/a.jpg\nnot a url\n")
    paths = [str(tmp_path / name) for name in ("*.tar", "t.parquet", "urls.txt")]
    ran = clipserve(stack, "ingest", *paths, "--collection", "p")
    assert ran.exit_code == 1  # the gateway of these tests fetches no URLs
    assert "not a URL" in ran.output
    assert "fetching images by URL is off" in ran.output.replace("\n", " ")
    assert "5 of 7 items are in p" in ran.output
    assert set(stack.index.collections["p"]["items"]) == {"0", "1", "2", "x", "y"}


def test_a_gateway_that_is_not_there_is_one_line(photos: Path) -> None:
    command = [sys.executable, "-m", "scripts.cli", "ingest", str(photos), "--collection", "p"]
    environment = {**os.environ, "CLIPSERVE_URL": "http://127.0.0.1:9"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "does not answer" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_ctrl_c_ends_it_and_the_next_run_goes_on(stack: Any, photos: Path) -> None:
    for n in range(40, 400):
        (photos / f"{n}.png").write_bytes(picture(str(n)))
    stack.torchserve.delay_s = 0.6
    command = [sys.executable, "-m", "scripts.cli", "ingest", str(photos), "--collection", "p", "--url", stack.url]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with Client(stack.url) as client:
        deadline = time.monotonic() + 60
        while not ("p" in stack.index.collections and client.collection("p").count) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=60)
        assert running.returncode == 130, output
        assert "run the same command again to go on" in output
        assert "Traceback" not in output
        assert 0 < client.collection("p").count < 400
    stack.torchserve.delay_s = 0.0
    again = clipserve(stack, "ingest", str(photos), "--collection", "p")
    assert (again.exit_code, "unchanged" in again.output) == (0, True)
    assert len(stack.index.collections["p"]["items"]) == 400


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Captions of the gallery that is rendered instead of the demo's."""
    captions = [f"scene {n}" for n in range(3)]

    def render(gallery: Path, console: Console) -> None:
        gallery.mkdir(exist_ok=True)
        for n in range(3):
            (gallery / f"{n}.jpg").write_bytes(picture(str(n)))
        rows = [{"id": f"scene-{n}", "file": f"{n}.jpg", "caption": captions[n]} for n in range(3)]
        (gallery / "gallery.jsonl").write_text("\n".join(map(json.dumps, rows)))
        console.print("rendered")

    monkeypatch.setattr(demo_collection, "render_gallery", render)
    return captions


def test_the_demo_is_filled_once(stack: Any, tmp_path: Path, scenes: list[str]) -> None:
    console = Console(record=True, width=120)
    with Client(stack.url) as client:
        for _ in range(2):
            assert demo_collection.fill_demo(client, tmp_path / "gallery", console) == "demo"
        assert {"file": "2.jpg", "caption": "scene 2"}.items() <= client.item("demo", "scene-2").metadata.items()
        assert console.export_text(clear=True).count("holds 3 pictures already") == 1
        scenes[2] = "another scene"
        for _ in range(2):
            demo_collection.fill_demo(client, tmp_path / "gallery", console)
        assert client.item("demo", "scene-2").metadata["caption"] == "another scene"
    assert console.export_text().count("holds 3 pictures already") == 1


def test_the_demo_of_another_model_has_a_collection_of_its_own(stack: Any, tmp_path: Path, scenes: list[str]) -> None:
    console = Console(quiet=True)
    with Client(stack.url) as client:
        demo_collection.fill_demo(client, tmp_path / "gallery", console)
        stack.torchserve.fingerprint, before = "other-fingerprint", stack.torchserve.fingerprint
        for _ in range(2):
            assert demo_collection.fill_demo(client, tmp_path / "gallery", console) == "demo-other-"
        assert {name: len(kept["items"]) for name, kept in stack.index.collections.items()} == {
            "demo": len(scenes),
            "demo-other-": len(scenes),
        }
        stack.torchserve.fingerprint = before
        assert demo_collection.fill_demo(client, tmp_path / "gallery", console) == "demo"


def test_up_names_the_collections_that_wait_for_their_model(stack: Any) -> None:
    console = Console(record=True, width=200)
    with Client(stack.url) as client:
        client.create_collection("shapes-v1")
        client.create_collection("other")
        client.set_alias("shapes", "shapes-v1")
        tell_waiting(client, console)
        assert console.export_text() == ""
        stack.index.collections["shapes-v1"]["spec"] |= {"fingerprint": "fp-old", "model": "vit-b-32"}
        tell_waiting(client, console)
        waiting, reindex = console.export_text(clear=True).splitlines()
        assert waiting.startswith("waiting shapes-v1 (0 items, alias shapes) for its model vit-b-32 (fp-old): ")
        assert "`clipserve up --model vit-b-32`" in waiting
        assert reindex.strip() == "or: clipserve reindex shapes-v1 shapes-v1-fp-dem"
        stack.index.down = True
        tell_waiting(client, console)
    assert console.export_text() == ""
