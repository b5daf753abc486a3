"""`clipserve ingest` tells a gateway on the same machine where the pictures lie."""

from __future__ import annotations

import io
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
