"""TorchServe alone, as the encoder's container runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from clip_core.serving.torchserve_tokens import KEY_FILE, bearer
from scripts.archive.contents import MANIFEST, unpack
from scripts.encoder import EncoderSettings, endpoints, environment, unpacked
from scripts.processes.preflight import StackStartError
from scripts.processes.process_tree import family
from scripts.stack.live_stack import free_ports
from tests.processes import still_running
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def encoder(store: Path, output: int = subprocess.PIPE, **settings: str) -> Iterator[subprocess.Popen[str]]:
    own = {f"CLIPSERVE_{name.upper()}": value for name, value in settings.items()}
    given = {**os.environ, "CLIPSERVE_MODEL_STORE": str(store), "CLIPSERVE_STOP_TIMEOUT": "60", **own}
    command = [sys.executable, "-P", "-m", "scripts.encoder"]
    one = subprocess.STDOUT
    with subprocess.Popen(command, cwd=ROOT, env=given, stdout=output, stderr=one, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(MANIFEST, path.stem)
    return path


def test_endpoints_are_the_archives_of_the_store(tmp_path: Path) -> None:
    for name in ("clip_text.mar", "large_text.mar", "README.md", "clip_text-2.0.mar", "large-2.0.mar"):
        (tmp_path / name).touch()  # one of them is a copy that a killed swap has left
    unpack(archive(tmp_path / "other.zip"), tmp_path / "clip_image")
    unpack(archive(tmp_path / "other.zip"), tmp_path / ".building-1")
    names = {"clip_image": "clip_image", "clip_text": "clip_text.mar"}
    names |= {"large-2.0": "large-2.0.mar", "large_text": "large_text.mar"}
    assert endpoints(tmp_path) == {endpoint: tmp_path / name for endpoint, name in names.items()}


def test_an_endpoint_that_is_there_in_both_forms(tmp_path: Path) -> None:
    unpack(archive(tmp_path / "clip_text.mar"), tmp_path / "clip_text")
    with pytest.raises(StackStartError, match="holds clip_text twice"):
        endpoints(tmp_path)


def test_a_store_without_archives(tmp_path: Path) -> None:
    with pytest.raises(StackStartError, match="there is no archive"):
        endpoints(tmp_path)
    with encoder(tmp_path) as process:
        said, _ = process.communicate()
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith(f"encoder: there is no archive (.mar) in {tmp_path}")


def test_archives_are_unpacked_before_torchserve_starts(tmp_path: Path) -> None:
    found = {name: archive(tmp_path / f"{name}.mar") for name in ("clip_text", "clip_image")}
    places = unpacked({**found, "large": tmp_path}, tmp_path / "archives")
    assert places.pop("large") == "large"
    assert {name: (Path(place) / MANIFEST).read_text() for name, place in places.items()} == {n: n for n in found}


def test_an_archive_that_is_damaged_is_named(tmp_path: Path) -> None:
    archive(tmp_path / "clip_image.mar")
    cut = archive(tmp_path / "clip_text.mar")
    cut.write_bytes(cut.read_bytes()[:-30])
    with encoder(tmp_path) as process:
        said, _ = process.communicate()
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith(f"encoder: {cut} is not a whole archive")


def test_archives_that_have_no_room(tmp_path: Path) -> None:
    large = tmp_path / "clip_text.mar"
    with large.open("wb") as file:
        file.truncate(1 << 42)  # a sparse file takes no room itself
    with pytest.raises(StackStartError, match=r"the archives take \d+ MB, and .* has \d+ MB left"):
        unpacked({"clip_text": large}, tmp_path / "archives")


def test_a_setting_that_makes_no_sense(tmp_path: Path) -> None:
    with encoder(tmp_path, management="closed") as process:
        said, _ = process.communicate()
        assert process.returncode == 1
        assert "CLIPSERVE_MANAGEMENT" in said
        assert len(said.splitlines()) == 1


def test_what_the_process_was_given_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPSERVE_HANDLER_INDEX_URL", "http://index:8090")
    given = environment(EncoderSettings(), tmp_path)
    assert given["CLIPSERVE_HANDLER_INDEX_URL"] == "http://index:8090"
    assert given["TEMP"] == str(tmp_path)


def answers(url: str) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    return asked


@pytest.mark.e2e
def test_it_serves_and_stops(archives: list[Path], tmp_path: Path) -> None:
    """Of two endpoints, one is unpacked in the store. It writes the tokens that it asks for where they are wanted."""
    store, (text, image, _) = tmp_path / "store", archives
    unpack(text, store / text.stem)
    (store / image.name).symlink_to(image)
    names = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")
    settings = {name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    inference, management = (f"http://127.0.0.1:{settings[name]}" for name in names[:2])
    settings |= {"management": "read-only", "token_authorization": "true", "token_dir": str(tmp_path)}
    with encoder(store, subprocess.DEVNULL, **settings) as process:
        until(answers(f"{management}/readyz"), 120)
        body, predict = {"input": [{"text": "a red circle"}]}, f"{inference}/predictions/clip_text"
        assert httpx.post(predict, json=body, timeout=60).status_code == 400
        given = bearer(tmp_path / KEY_FILE, "inference")
        assert len(httpx.post(predict, json=body, headers=given, timeout=60).json()["data"]) == 1
        assert httpx.get(f"{management}/models").status_code == 400
        given = bearer(tmp_path / KEY_FILE, "management")
        assert len(httpx.get(f"{management}/models", headers=given).json()["models"]) == 2
        assert httpx.delete(f"{management}/models/clip_text", headers=given).status_code == 403
        children = family(process.pid)
        assert len(children) >= 3  # the JVM and a worker of each
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert still_running(children) == []
