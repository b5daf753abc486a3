"""One engine and one set of images for all tests of this folder. `CLIPSERVE_TEST_DOCKER_DIR` keeps what it built.

With `CLIPSERVE_TEST_BUILT` images of an earlier run are tested as they are: the encoder's takes ten minutes to build.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pytest

from benchmarks.ship.engine import ROOT, DockerEngine, NoEngineError, sweep
from benchmarks.ship.engine import engine as running_engine
from benchmarks.ship.package_access import secrets

_HERE = Path(__file__).resolve().parent
_PREFIX = "clipserve-docker-"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(1800))  # the first builds the images


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerEngine]:
    sweep(Path(tempfile.gettempdir()), _PREFIX)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as made:
        folder = Path(os.environ.get("CLIPSERVE_TEST_DOCKER_DIR") or made).resolve()  # short: it holds a socket
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with running_engine(folder) as found:
                yield found
        except NoEngineError as reason:
            pytest.skip(str(reason))


@dataclass(frozen=True)
class Builder:
    """Builds targets of docker/Dockerfile on one base."""

    docker: DockerEngine
    base: str
    secrets: list[str]

    def __call__(self, target: str, source: Path = ROOT, version: str = "test") -> str:
        """Its tag."""
        if "CLIPSERVE_TEST_BUILT" in os.environ and self.docker.has(f"clipserve/{target}:{version}"):
            return f"clipserve/{target}:{version}"
        return self.docker.build(target, self.base, self.secrets, source, version)


@pytest.fixture(scope="session")
def builder(docker: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    folder = tmp_path_factory.mktemp("build")
    try:
        found = Builder(docker, docker.base_image(folder), secrets(folder))
        docker.check_index(found("build"), found.secrets)
        return found
    except NoEngineError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def image(builder: Builder) -> Callable[[str], str]:
    """Builds a target → its tag. Two that nearly all tests need are built at once: one downloads, one compiles."""
    known = cache(builder)
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(known, ("gateway", "index")):
            pass
    return known


@pytest.fixture(scope="session")
def previous(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Builds a target as the last release had it → its tag; before the first release, the oldest commit with images."""
    releases = git("tag", "--list", "v*", "--sort=-version:refname").split()
    commits = releases or git("log", "--diff-filter=A", "--format=%H", "--", "docker/build/install.py").split()[::-1]
    if not commits:
        pytest.skip("this is no checkout with a history")
    source = tmp_path_factory.mktemp("previous")
    archive = subprocess.run(["git", "archive", commits[0]], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)
    return cache(partial(builder, source=source, version="previous"))


def git(*words: str) -> str:
    """What it prints; nothing where it fails."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout
