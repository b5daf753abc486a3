"""One engine and one set of images for all tests of this folder. `CLIPSERVE_TEST_DOCKER_DIR` keeps what it built."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks.ship.engine import DockerEngine, NoEngineError, secrets
from benchmarks.ship.engine import engine as running_engine

_HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(1800))  # the first builds the images


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerEngine]:
    with tempfile.TemporaryDirectory(prefix="clipserve-docker-") as made:  # short: it holds a socket
        folder = Path(os.environ.get("CLIPSERVE_TEST_DOCKER_DIR") or made)
        try:
            with running_engine(folder) as found:
                yield found
        except NoEngineError as reason:
            pytest.skip(str(reason))


@pytest.fixture(scope="session")
def image(docker: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Builds a target of docker/Dockerfile → its tag."""
    folder = tmp_path_factory.mktemp("build")
    try:
        base = docker.base_image(folder)
    except NoEngineError as reason:
        pytest.skip(str(reason))

    @cache
    def built(target: str) -> str:
        return docker.build(target, base, secrets(folder))

    return built
