"""What more than one of these files starts with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from clip_core.captions.captioner import Captioner
from tests.captioners import write_captioner


@pytest.fixture(scope="module", autouse=True)
def _the_usual_logger() -> Iterator[None]:
    """A handler that starts makes the logger its own."""
    yield
    logger = logging.getLogger("clipserve")
    logger.handlers, logger.propagate = [], True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioner's checkpoint."""
    return write_captioner(tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module")
def captioner(folder: Path) -> Captioner:
    return Captioner.load(folder)
