"""Fixtures that more than one folder uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT CLIP of random weights in the hub's layout."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> list[Path]:
    """The text, image and multimodal .mar of the tiny checkpoint."""
    from scripts.archive_build import build

    return build("demo", checkpoint=checkpoint, model_store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def model_dirs(archives: list[Path]) -> Iterator[dict[str, Path]]:
    """The same, unpacked: kind → directory."""
    import contextlib

    from scripts.archive_build import unpacked

    with contextlib.ExitStack() as stack:
        yield {mar.stem.removeprefix("clip_"): stack.enter_context(unpacked(mar)) for mar in archives}
