"""Fixtures that more than one folder uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from scripts.processes.preflight import StackStartError, check_ports
from scripts.stack.live_stack import LiveStack, default_ports, live_stack
from tests.checkpoints import write_checkpoint
from tests.processes import still_running
from tests.waiting import until

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("clipserve", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clipserve")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: all tests of the real stack in one process, which starts it once; else by files."""
    for item in items:
        shared = "stack" in getattr(item, "fixturenames", ()) and item.get_closest_marker("e2e")
        item.add_marker(pytest.mark.xdist_group("stack" if shared else item.location[0]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """`--dist loadgroup` writes the group behind a test's name, and `--last-failed` looks for the name without it."""
    if hasattr(report, "node"):  # it came from a worker of pytest-xdist, which itself goes by the whole name
        for group in ("stack", report.location[0]):
            report.nodeid = report.nodeid.removesuffix(f"@{group}")


@pytest.fixture(autouse=True)
def _the_usual_umask() -> Iterator[None]:
    """A service's `main` that a test calls makes the whole process private."""
    usual = os.umask(0o022)
    os.umask(usual)
    yield
    os.umask(usual)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT CLIP of random weights in the hub's layout."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> list[Path]:
    """The text, image and multimodal .mar of the tiny checkpoint."""
    from scripts.archive.build import build

    return build("demo", checkpoint=checkpoint, model_store=tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def model_dirs(archives: list[Path]) -> Iterator[dict[str, Path]]:
    """The same, unpacked: kind → directory."""
    import contextlib

    from scripts.archive.mar_files import unpacked

    with contextlib.ExitStack() as stack:
        yield {mar.stem.removeprefix("clip_"): stack.enter_context(unpacked(mar)) for mar in archives}


def _ports() -> dict[str, int] | None:
    """The default ports, as the README prints them, when they are free."""
    try:
        check_ports(default_ports())
    except StackStartError:
        return None
    return default_ports()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """The real one: index service, TorchServe and gateway, started once, as a user starts them."""
    with live_stack(tmp_path_factory.mktemp("stack"), "--log-json", ports=_ports()) as stack:
        stack.wait_ready()
        yield stack
        stack.stop()
    assert stack.process.returncode == 0, stack.text()
    until(lambda: not still_running(stack.family))
