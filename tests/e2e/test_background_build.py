"""A first start: quick archives serve, the real ones are built meanwhile and swapped in, the next start has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clip_core.model_spec import ModelSpec
from scripts.archive.mar_files import read_spec
from scripts.stack.live_stack import LiveStack, live_stack
from scripts.stack.torchserve import ENDPOINTS
from tests.e2e.conftest import send
from tests.processes import still_running
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]  # workers start beside steady clients
SWAPPED = "now serves as it was built in the background"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("first-start")


def options(folder: Path) -> list[str]:
    """The demo in bf16, so that its quick archives are others; texts in smaller batches than its archives say."""
    file = folder / "clipserve.yaml"
    file.write_text("optimisation: {precision: bf16}\nbatching: {text: {batchSize: 7}}\n")
    return ["--config", str(file), "--model-store", str(folder / "store"), "--management", "read-only"]


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[LiveStack]:
    with live_stack(folder, *options(folder)) as stack:
        stack.wait_ready()
        yield stack


def specs(folder: Path) -> list[ModelSpec]:
    found = [read_spec(folder / "store" / f"{endpoint}.mar") for endpoint in ENDPOINTS]
    return [spec for spec in found if spec]


def batch_size(stack: LiveStack) -> int:
    (described,) = send("GET", f"http://127.0.0.1:{stack.ports['management_port']}/models/clip_text").json
    size: int = described["batchSize"]
    return size


def vector(stack: LiveStack) -> list[float]:
    answer = send("POST", f"{stack.gateway}/v1/embeddings", {"input": ["a red circle"], "encoding_format": "float"})
    assert answer.status == 200
    found: list[float] = answer.json["data"][0]["embedding"]
    return found


def test_the_first_start_serves_and_swaps_later(own: LiveStack, folder: Path) -> None:
    first, fingerprint = vector(own), specs(folder)[0].fingerprint
    assert batch_size(own) == 7
    while SWAPPED not in own.text():
        assert own.process.poll() is None
        assert vector(own)
        assert "could not be built" not in own.text()
        time.sleep(0.2)
    assert "serves uncompiled in fp32 and is built in the background: about" in " ".join(own.text().split())
    later = vector(own)
    assert batch_size(own) == 7
    assert sum(a * b for a, b in zip(first, later, strict=True)) > 0.999
    assert {(spec.precision, spec.fingerprint) for spec in specs(folder)} == {("bf16", fingerprint)}
    own.stop()
    names = {f"{name}.mar" for name in (*ENDPOINTS, "clip_caption")}
    assert {path.name for path in (folder / "store").iterdir()} == names


def test_the_next_start_builds_nothing(own: LiveStack, folder: Path) -> None:
    own.stop()
    with live_stack(folder, *options(folder)) as stack:
        stack.wait_ready()
        assert "building" not in stack.text()


@pytest.mark.full
def test_ctrl_c_ends_the_build_at_once(tmp_path: Path) -> None:
    with live_stack(tmp_path, *options(tmp_path), "--no-demo") as stack:
        stack.wait_ready()
        while not stack.find("--line-every"):
            assert stack.process.poll() is None
        family = stack.children()
        stack.stop()
        until(lambda: not still_running(family))
        assert {spec.precision for spec in specs(tmp_path)} == {"fp32"}
        assert not list((tmp_path / "store").glob(".*"))
