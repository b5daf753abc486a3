"""A hub on loopback that huggingface_hub talks to, and a cache of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants as constants
import pytest
from huggingface_hub.utils._http import close_session

from scripts.hub.loopback_hub import LoopbackHub, loopback_hub


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with loopback_hub() as served:
        yield served


@pytest.fixture
def cache(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache folder; the environment of children, too, leads to the hub on loopback."""
    use(monkeypatch, hub.url, tmp_path / "cache")
    yield tmp_path / "cache"
    close_session()


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    """huggingface_hub reads the environment when it is imported, so what it read is replaced, too."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def repository(hub: LoopbackHub, checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint as `org/tiny`, with a card: a folder that a test may change."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n", encoding="utf-8")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"another format")
    hub.add("org/tiny", folder)
    return folder
