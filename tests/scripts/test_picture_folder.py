"""`clipserve ingest` tells a gateway on the same machine where the pictures lie."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipserve_client import Client
from scripts.cli import app
from scripts.collections.picture_folder import show_from
from tests.gateway.conftest import stack_of, upstreams

__all__ = ["stack_of", "upstreams"]
TOKEN = "a" * 43


def png(colour: str) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(written, "PNG")
    return written.getvalue()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    for colour in ("red", "blue"):
        (folder / "2024" / f"{colour}.png").write_bytes(png(colour))
    return folder


@pytest.mark.parametrize("mode", ["thumbnails", "in_place", "copy"])
def test_after_an_ingest_every_picture_is_shown(stack_of: Any, photos: Path, mode: str) -> None:
    """No restart, and nothing to set."""
    stack = stack_of(pictures=mode, pictures_min_free_bytes=0)
    words = ["ingest", str(photos), "--collection", "mine", "--prefix", "p/", "--url", stack.url]
    ran = CliRunner().invoke(app, words, env={"COLUMNS": "120"})
    assert ran.exit_code == 0, ran.output
    for colour in ("red", "blue"):
        item = f"/v1/collections/mine/items/p/2024/{colour}.png"
        thumbnail = stack.client.get(f"{item}/thumbnail", params={"size": 256})
        assert (thumbnail.status_code, thumbnail.headers["content-type"]) == (200, "image/webp"), thumbnail.text
        assert stack.client.get(f"{item}/picture").content == png(colour)


def run(stack: Any, folder: Path, *words: str) -> str:
    command = ["ingest", str(folder), "--collection", "mine", *words, "--url", stack.url]
    return CliRunner().invoke(app, command, env={"COLUMNS": "120"}).output


def test_an_item_never_shows_a_file_of_another_folder(stack_of: Any, tmp_path: Path) -> None:
    stack = stack_of(pictures_min_free_bytes=0)
    for folder, colour in (("A", "red"), ("B", "blue")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(png(colour))
    registry = tmp_path / "gateway" / "folders.json"
    for _ in range(2):
        run(stack, tmp_path / "A", str(tmp_path / "B"))
        assert "id_taken" in run(stack, tmp_path / "B")
        assert [each["folder"] for each in json.loads(registry.read_text())["mine"]] == [str(tmp_path / "A")]
        assert stack.client.get("/v1/collections/mine/items/x.png/picture").content == png("red")
    (tmp_path / "B" / "y.png").write_bytes(png("green"))
    run(stack, tmp_path / "B")
    assert stack.client.get("/v1/collections/mine/items/y.png/picture").content == png("green")
    (tmp_path / "A" / "x.png").unlink()
    answer = stack.client.get("/v1/collections/mine/items/x.png/picture")
    assert answer.json()["error"]["code"] == "picture_not_found"


@pytest.mark.parametrize("change", [None, {"file": "elsewhere.png"}, {"file": None}])
def test_patches_of_metadata_leave_the_original_where_it_is(stack_of: Any, photos: Path, change: Any) -> None:
    stack = stack_of(pictures_min_free_bytes=0)
    run(stack, photos)
    item = "/v1/collections/mine/items/2024/red.png"
    assert stack.client.patch(item, json={"metadata": change}).status_code == 200
    assert stack.client.get(f"{item}/picture").content == png("red")


def test_the_original_of_a_picture_that_was_sent_converted(stack_of: Any, tmp_path: Path) -> None:
    stack = stack_of(pictures_min_free_bytes=0)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (60, 40), "red").save(tmp_path / "photos" / "a.avif")
    assert "converted from AVIF" in run(stack, tmp_path / "photos")
    assert (
        stack.client.get("/v1/collections/mine/items/a.avif/picture").content
        == (tmp_path / "photos" / "a.avif").read_bytes()
    )
    Image.new("RGB", (60, 40), "blue").save(tmp_path / "photos" / "a.avif")
    answer = stack.client.get("/v1/collections/mine/items/a.avif/picture")
    assert answer.json()["error"]["code"] == "picture_not_found"


class Gateway:
    """A client whose gateway names `token_file`, and remembers what it was sent."""

    def __init__(self, token_file: object, url: str = "http://127.0.0.1:8000") -> None:
        self.target = Client(url).target
        self.token_file = token_file
        self.sent: list[Any] = []

    def call(self, method: str, _: str, body: Any = None) -> Any:
        if method == "POST":
            self.sent.append(body)
        return {"token_file": self.token_file}


@pytest.mark.parametrize(
    ("name", "content", "url", "sent"),
    [
        ("folders.token", TOKEN, "http://127.0.0.1:8000", True),
        ("folders.token", TOKEN, "http://localhost:8000", True),
        ("folders.token", TOKEN, "http://search.example.org", False),
        ("id_rsa", TOKEN, "http://127.0.0.1:8000", False),
        ("folders.token", "-----BEGIN KEY-----\n" + TOKEN, "http://127.0.0.1:8000", False),
        ("folders.token", "ü" * 43, "http://127.0.0.1:8000", False),
    ],
)
def test_a_gateway_gets_no_file_but_its_token(tmp_path: Path, name: str, content: str, url: str, sent: bool) -> None:
    file = tmp_path / name
    file.write_text(content)
    gateway: Any = Gateway(str(file), url)
    assert show_from(gateway, tmp_path, "mine", "") is sent
    assert bool(gateway.sent) is sent


@pytest.mark.parametrize("token_file", [None, 7, "/nowhere/folders.token"])
def test_a_gateway_that_names_no_file_that_is_here(tmp_path: Path, token_file: object) -> None:
    gateway: Any = Gateway(token_file)
    assert not show_from(gateway, tmp_path, "mine", "")
    assert gateway.sent == []
