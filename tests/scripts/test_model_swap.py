"""The steps of a swap against a TorchServe that only remembers what it was told."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from clip_core.errors import BadModel, FingerprintMismatch, TorchServeUnavailable
from clip_core.model_spec import SPEC_FILE, ModelSpec
from index_service.collection.bodies import collection_name
from scripts.cli import app
from scripts.models import retiring
from scripts.models.model_swap import MANIFEST, Swap, advice, with_version

ENDPOINTS = ("clip_text", "clip_image")


class Remembering:
    """Stands where `Management` stands. `broken` fails to become ready."""

    def __init__(self, store: Path, fingerprint: str = "old", broken: str | None = None, queue: int = 2) -> None:
        self.store, self.fingerprint, self.broken, self.queue = store, fingerprint, broken, queue
        self.models = {endpoint: {"1.0": 2} for endpoint in ENDPOINTS}
        self.default = dict.fromkeys(ENDPOINTS, "1.0")
        self.batches: dict[str, int] = {}
        self.warmed: list[str] = []
        self.served: set[tuple[str, str]] = set()
        self.last_words: dict[tuple[str, str], int] = {}

    def versions(self, endpoint: str) -> list[dict[str, Any]]:
        return [{"modelVersion": v, "workers": [{"status": "READY"}] * n} for v, n in self.models[endpoint].items()]

    def default_version(self, endpoint: str) -> str:
        return self.default[endpoint]

    def register(self, endpoint: str, archive: str, workers: int) -> None:
        manifest = json.loads(zipfile.ZipFile(self.store / archive).read(MANIFEST))
        self.batches[endpoint] = batch_size(self.store / archive)
        self.models[endpoint][manifest["model"]["modelVersion"]] = workers

    def wait_ready(self, endpoint: str, version: str) -> None:
        if endpoint == self.broken:
            raise TorchServeUnavailable(f"{endpoint} {version} is not ready")

    def predict(self, endpoint: str, _: Any, version: str | None = None, *__: float) -> dict[str, Any]:
        if version:
            self.warmed.append(endpoint)
        if (endpoint, version) in self.last_words:
            self.last_words[endpoint, str(version)] += 1
        return {"fingerprint": self.fingerprint}

    def make_default(self, endpoint: str, version: str) -> None:
        assert endpoint in self.warmed
        self.served.add((endpoint, self.default[endpoint]))
        self.default[endpoint] = version

    def pending(self, endpoint: str, version: str) -> int:
        assert self.default[endpoint] != version
        self.queue = max(0, self.queue - 1)
        if not self.queue:
            self.last_words[endpoint, version] = 0
        return self.queue

    def unregister(self, endpoint: str, version: str) -> None:
        assert self.default[endpoint] != version
        workers = self.models[endpoint].pop(version)
        if (endpoint, version) in self.served:
            assert self.last_words[endpoint, version] == workers  # each got one when the queue was empty


class Index:
    def call(self, *_: Any) -> Any:
        collections = [
            {"name": "mine", "count": 3, "fingerprint": "old"},
            {"name": "other", "count": 5, "fingerprint": "x"},
        ]
        return {"collections": collections}


def archive(path: Path, fingerprint: str, kind: str) -> Path:
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr(SPEC_FILE, json.dumps(asdict(ModelSpec("demo", kind, 4, 77, fingerprint))))
        mar.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
        mar.writestr("model-config.yaml", "batchSize: 16\nminWorkers: 1\n")
        mar.writestr("weights", b"w" * 100)
    return path


def batch_size(mar: Path) -> int:
    size: int = yaml.safe_load(zipfile.ZipFile(mar).read("model-config.yaml"))["batchSize"]
    return size


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def make(fingerprint: str = "old", accept: bool = False, **server: Any) -> Swap:
        store = tmp_path / "store"
        store.mkdir()
        kinds = {endpoint: endpoint.removeprefix("clip_") for endpoint in ENDPOINTS}
        archives = {e: archive(tmp_path / f"{e}.mar", fingerprint, kind) for e, kind in kinds.items()}
        return Swap(Remembering(store, **server), Index(), archives, store, accept, drain_s=0)  # type: ignore[arg-type]

    return make


def test_new_in_old_out(make: Any) -> None:
    swap = make()
    assert swap.run() == {"clip_text": "2.0", "clip_image": "2.0"}
    assert swap.torchserve.models == {endpoint: {"2.0": 2} for endpoint in ENDPOINTS}
    assert swap.torchserve.queue == 0
    assert sorted(path.name for path in swap.model_store.iterdir()) == ["clip_image.mar", "clip_text.mar"]
    assert swap.run() == {"clip_text": "3.0", "clip_image": "3.0"}


def test_settings_are_served_and_the_store_keeps_the_archives_own(make: Any) -> None:
    swap = replace(make(), settings={"clip_text": {"batchSize": 4}, "clip_image": {}})
    assert swap.run() == {"clip_text": "2.0", "clip_image": "2.0"}
    assert swap.torchserve.batches == {"clip_text": 4, "clip_image": 16}  # type: ignore[attr-defined]
    assert {path.name: batch_size(path) for path in swap.model_store.iterdir()} == {
        "clip_text.mar": 16,
        "clip_image.mar": 16,
    }


def test_a_new_version_that_does_not_start_leaves_everything_as_it_was(make: Any) -> None:
    swap = make(broken="clip_image")
    with pytest.raises(TorchServeUnavailable):
        swap.run()
    assert swap.torchserve.models == {endpoint: {"1.0": 2} for endpoint in ENDPOINTS}
    assert set(swap.torchserve.default.values()) == {"1.0"}
    assert list(swap.model_store.iterdir()) == []


def test_another_fingerprint_needs_a_word(make: Any) -> None:
    swap = make("new")
    with pytest.raises(FingerprintMismatch) as refused:
        swap.run()
    assert "mine (3 items)" in refused.value.message
    assert "other" not in refused.value.message
    assert "clipserve reindex mine mine-new" in refused.value.message
    assert swap.torchserve.models == {endpoint: {"1.0": 2} for endpoint in ENDPOINTS}


@pytest.mark.parametrize("collection", ["mine", "m" * 64])
def test_the_command_that_is_offered_is_one(collection: str) -> None:
    """Parsed as the command line parses it, down to names that the index service takes."""
    command = advice("8f3b2c9d", [(collection, 3)]).splitlines()[3]
    program, *arguments = shlex.split(command)
    assert program == "clipserve"
    clipserve = typer.main.get_command(app)
    assert isinstance(clipserve, TyperGroup)
    context = clipserve.make_context(program, list(arguments), resilient_parsing=True)
    name, reindex, rest = clipserve.resolve_command(context, arguments)
    assert (name, reindex is not None) == ("reindex", True)
    given = reindex.make_context("reindex", rest).params if reindex is not None else {}
    assert (given["old"], given["new"]) == (collection, f"{collection[:57]}-8f3b2c")
    assert collection_name(given["new"]).endswith("-8f3b2c")


def test_another_fingerprint_with_that_word(make: Any) -> None:
    assert make("new", accept=True).run() == {"clip_text": "2.0", "clip_image": "2.0"}


def test_archives_of_different_models_are_refused(make: Any, tmp_path: Path) -> None:
    swap = make()
    archive(tmp_path / "clip_image.mar", "another", "image")
    with pytest.raises(BadModel, match="different models"):
        swap.run()


def test_only_the_version_changes(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.mar", "f", "text")
    with_version(source, tmp_path / "b.mar", "7.0")
    old, new = zipfile.ZipFile(source), zipfile.ZipFile(tmp_path / "b.mar")
    assert json.loads(new.read(MANIFEST))["model"] == {"modelName": "m", "modelVersion": "7.0"}
    assert old.namelist() == new.namelist()
    assert all(old.read(name) == new.read(name) for name in old.namelist() if name != MANIFEST)


def test_a_swap_that_is_stopped_leaves_everything_as_it_was(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    swap = make()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(swap.torchserve, "wait_ready", stop)
    with pytest.raises(KeyboardInterrupt):
        swap.run()
    assert swap.torchserve.models == {endpoint: {"1.0": 2} for endpoint in ENDPOINTS}
    assert list(swap.model_store.iterdir()) == []


def test_a_store_without_room_is_said_and_left_as_it_was(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    swap, copy, names = make(), shutil.copyfileobj, list[str]()

    def full(source: Any, target: Any, size: int) -> None:
        names.append(source.name)
        if names.count("weights") == len(ENDPOINTS):
            raise OSError(28, "No space left on device")
        copy(source, target, size)

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(BadModel, match="No space left on device"):
        swap.run()
    assert list(swap.model_store.iterdir()) == []


def test_an_old_version_that_takes_nothing_any_more_is_not_waited_for(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiring, "_STUCK_S", 0.1)
    said = list[str]()
    swap = replace(make(queue=3), report=said.append)
    dead = [{"modelVersion": "1.0", "workers": [{"status": "UNLOADING"}]}]
    monkeypatch.setattr(swap.torchserve, "versions", lambda _: dead)
    monkeypatch.setattr(swap.torchserve, "pending", lambda *_: 3)
    monkeypatch.setattr(swap.torchserve, "make_default", swap.torchserve.default.__setitem__)
    assert swap.run() == {"clip_text": "2.0", "clip_image": "2.0"}
    assert swap.torchserve.models == {endpoint: {"2.0": 1} for endpoint in ENDPOINTS}
    assert "clip_text 1.0: no request was taken for 0.1 s; the 3 that wait fail now" in said


def test_an_old_version_whose_workers_answer_nothing_leaves_all_the_same(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, limits = list[str](), list[float]()
    swap = replace(make(), report=said.append)
    predict, unregister = swap.torchserve.predict, list[tuple[str, str]]()

    def dead(endpoint: str, body: Any, version: str | None = None, timeout_s: float | None = None) -> Any:
        if version != "1.0":
            return predict(endpoint, body, version)
        assert timeout_s is not None, "it would wait for ten minutes"
        limits.append(timeout_s)
        raise TorchServeUnavailable("TorchServe does not answer")

    monkeypatch.setattr(swap.torchserve, "predict", dead)
    monkeypatch.setattr(swap.torchserve, "unregister", lambda *gone: unregister.append(gone))
    assert swap.run() == {"clip_text": "2.0", "clip_image": "2.0"}
    assert sorted(unregister) == [("clip_image", "1.0"), ("clip_text", "1.0")]
    assert len(limits) == 4
    assert max(limits) <= retiring._STUCK_S
    assert sum("a worker did not answer" in line for line in said) == 2


def test_a_restart_begins_with_what_serves_even_if_the_old_version_does_not_leave(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = make()

    def lost(*_: Any) -> None:
        raise TorchServeUnavailable("it is gone")

    monkeypatch.setattr(swap.torchserve, "unregister", lost)
    with pytest.raises(TorchServeUnavailable):
        swap.run()
    for endpoint in ENDPOINTS:
        with zipfile.ZipFile(swap.model_store / f"{endpoint}.mar") as kept:
            assert json.loads(kept.read(MANIFEST))["model"]["modelVersion"] == "2.0"
