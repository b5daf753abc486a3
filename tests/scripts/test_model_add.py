"""Models that come and go, against a TorchServe that only remembers what it was told."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from clip_core.errors import BadModel, Conflict, NotFound, TorchServeUnavailable
from clip_core.model_spec import SPEC_FILE, ModelSpec
from scripts.cli import app
from scripts.models.archives import given_in, replacing_in
from scripts.models.memory import RunningWorker, available, check_room, estimate
from scripts.models.model_add import Addition
from scripts.models.model_list import show, table
from scripts.models.model_remove import Removal
from scripts.models.row_store import KINDS, RowStore, row
from scripts.stack.asked import Asked, AskedModel
from scripts.stack.up_models import Batching, UpModel, models_of, write_rows
from scripts.stack.up_settings import UpSettings

MB = 1_000_000


class Told:
    """Stands where `Management` stands. `broken` fails to become ready; another caller registers `raced` first.

    `store`, where it is given, is the folder in which it looks for archives; `stopped` is an endpoint at which
    Ctrl-C is pressed.
    """

    def __init__(
        self, broken: str = "", fingerprint: str = "new", raced: str = "", store: Path | None = None, stopped: str = ""
    ) -> None:
        self.broken, self.fingerprint, self.raced = broken, fingerprint, raced
        self.store, self.stopped = store, stopped
        self.endpoints: dict[str, int] = {}
        self.steps: list[str] = []

    def register(self, endpoint: str, archive: str, workers: int) -> None:
        if self.store and not (self.store / archive).exists():
            raise NotFound(f"Model not found in model store: {archive}")
        self.endpoints[endpoint] = workers
        if endpoint == self.raced:
            raise Conflict(f"{endpoint} is registered already")
        self.steps.append(f"register {archive}")

    def registered(self, endpoint: str) -> list[str]:
        return ["1.0"] if endpoint in self.endpoints else []

    def default_version(self, _: str) -> str:
        return "1.0"

    def wait_ready(self, endpoint: str, _: str) -> None:
        if endpoint == self.stopped:
            raise KeyboardInterrupt
        if endpoint == self.broken:
            raise TorchServeUnavailable(f"{endpoint} is not ready")

    def predict(self, endpoint: str, body: Any, *_: str | float | None) -> dict[str, Any]:
        if endpoint.endswith("_caption"):
            assert set(body) == {"image", "caption"}
        else:
            assert ("image" in body["input"][0]) == endpoint.endswith("_image")
        if endpoint not in self.endpoints:
            raise TorchServeUnavailable("no such endpoint")
        return {"fingerprint": self.fingerprint}

    def pending(self, *_: str) -> int:
        return 0

    def versions(self, endpoint: str) -> list[dict[str, Any]]:
        return [{"modelVersion": "1.0", "workers": [{"status": "READY"}] * self.endpoints[endpoint]}]

    def unregister(self, endpoint: str, _: str) -> None:
        del self.endpoints[endpoint]
        self.steps.append(f"unregister {endpoint}")

    def worker_pids(self, _: str) -> list[int]:
        return []


class Listed:
    def call(self, *_: Any) -> Any:
        return {"collections": [{"name": "mine", "count": 3, "fingerprint": "new", "model": "tiny"}]}


def archive(
    store: Path, endpoint: str, kind: str, *, weights: int = 1000, workers: int = 1, fingerprint: str = "new"
) -> Path:
    store.mkdir(exist_ok=True)
    path = store / f"{endpoint}.mar"
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr(SPEC_FILE, json.dumps(asdict(ModelSpec("tiny", kind, 4, 77, fingerprint))))
        mar.writestr("model.safetensors", b"w" * weights)
        mar.writestr("model-config.yaml", f"minWorkers: {workers}\n")
    return path


def archives(folder: Path, prefix: str) -> Path:
    """One of each kind → `folder`."""
    for kind in KINDS:
        archive(folder, f"{prefix}_{kind}", kind)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return archives(tmp_path / "store", "tiny")


@pytest.fixture
def rows(tmp_path: Path) -> RowStore:
    rows = RowStore(tmp_path / "models.json")
    rows.write([row("demo", default=True)])
    return rows


def add(rows: RowStore, store: Path, told: Told, **how: Any) -> Addition:
    return Addition(told, rows, row("tiny", added=True), store, **how)  # type: ignore[arg-type]


def remove(rows: RowStore, told: Told, **how: Any) -> Removal:
    found = rows.find("tiny")
    return Removal(told, Listed(), rows, found, notice_s=0, drain_s=0, **how)  # type: ignore[arg-type]


def names(rows: RowStore) -> list[str]:
    return [each.name for each in rows.read()]


def test_a_captioner_comes_and_goes_with_its_model(rows: RowStore, store: Path) -> None:
    archive(store, "tiny_caption", "caption", fingerprint="its own")
    told = Told()
    Addition(told, rows, row("tiny", added=True, captions=True), store).run()  # type: ignore[arg-type]
    assert sorted(told.endpoints) == ["tiny_caption", "tiny_image", "tiny_multimodal", "tiny_text"]
    assert rows.find("tiny").caption == "tiny_caption"
    remove(rows, told, force=True).run()
    assert told.endpoints == {}


def test_a_captioner_that_nothing_replaces_stays(store: Path) -> None:
    served, said = row("tiny", captions=True), list[str]()
    for found in (replacing_in, given_in):
        assert list(found(store, served, said.append)) == ["tiny_text", "tiny_image", "tiny_multimodal"]
        assert "tiny_caption stays" in said.pop()
    archive(store, "tiny_caption", "caption")
    assert len(replacing_in(store, served, said.append)) == len(given_in(store, served)) == 4
    assert said == []


def test_a_model_is_added_and_removed(rows: RowStore, store: Path) -> None:
    told, said = Told(), list[str]()
    add(rows, store, told, report=said.append).run()
    assert names(rows) == ["demo", "tiny"]
    assert sorted(told.endpoints) == ["tiny_image", "tiny_multimodal", "tiny_text"]
    assert said[0].startswith("tiny takes about 0.9 GB of memory in 3 workers; ")
    remove(rows, told, force=True).run()
    assert (names(rows), told.endpoints) == (["demo"], {})


def test_one_stays_while_collections_may_be_missing(
    rows: RowStore, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    add(rows, store, told).run()
    monkeypatch.setattr(Listed, "call", lambda *_: {"collections": [], "incomplete": "Milvus can't be reached"})
    with pytest.raises(Conflict, match="not every collection can be listed"):
        remove(rows, told).run()
    assert names(rows) == ["demo", "tiny"]


def test_one_that_does_not_start_leaves_nothing(rows: RowStore, store: Path) -> None:
    told = Told(broken="tiny_image")
    with pytest.raises(TorchServeUnavailable):
        add(rows, store, told).run()
    assert (names(rows), told.endpoints) == (["demo"], {})


def test_one_that_fails_leaves_what_others_registered(rows: RowStore, store: Path) -> None:
    told = Told(raced="tiny_image")
    with pytest.raises(Conflict, match="registered already"):
        add(rows, store, told).run()
    assert (names(rows), told.endpoints) == (["demo"], {"tiny_image": 1})
    with pytest.raises(Conflict, match=r"TorchServe has tiny_image already, and .*models\.json has no such model"):
        add(rows, store, told).run()
    assert (names(rows), told.endpoints) == (["demo"], {"tiny_image": 1})


@pytest.mark.parametrize("command", [["add", "demo", "--name", "tiny"], ["remove", "demo"], ["swap", "demo"]])
def test_one_command_at_a_time(rows: RowStore, command: list[str]) -> None:
    asked = ["model", *command, "--data-dir", str(rows.path.parent)]
    with rows.one_command():
        done = CliRunner().invoke(app, asked)
    assert isinstance(done.exception, Conflict)
    assert "another `clipserve model` command is running" in done.exception.message
    with rows.one_command():
        assert names(rows) == ["demo"]


def test_what_waits_for_its_turn_comes_after(rows: RowStore) -> None:
    order = list[str]()

    def later() -> None:
        with rows.one_command(wait=True):
            order.append("the second")

    with ThreadPoolExecutor(1) as pool:
        with rows.one_command():
            second = pool.submit(later)
            assert not wait([second], 0.2).done
            order.append("the first")
        second.result()
    assert order == ["the first", "the second"]


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder for --archives."""
    return archives(tmp_path / "given", "clip")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The stack's store."""
    return archives(tmp_path / "served", "clip")


@pytest.fixture
def command(rows: RowStore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`clipserve model add demo --name tiny`, whose TorchServe is the first argument."""

    def run(told: Told, *options: object) -> Result:
        monkeypatch.setattr("scripts.commands.model_command._torchserve", lambda *_: told)
        asked = ["model", "add", "demo", "--name", "tiny", "--force", "--data-dir", rows.path.parent, *options]
        return CliRunner().invoke(app, [str(each) for each in asked])

    return run


@pytest.mark.parametrize("quick", [True, False])
def test_a_quick_build(
    command: Callable[..., Result], served: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    asked: list[bool] = []

    def build(*_: Any, quick: bool, prefix: str, model_store: Path, captions: bool, **__: Any) -> None:
        asked.append(quick)
        for kind in (*KINDS, *(["caption"] if captions else [])):
            archive(model_store, f"{prefix}_{kind}", kind)

    monkeypatch.setattr("scripts.archive.build.build", build)
    done = command(Told(store=served), "--model-store", served, *(["--quick"] if quick else []))
    assert (done.exit_code, asked) == (0, [quick]), done.output


@pytest.mark.parametrize("other", [("--precision", "bf16"), ("--archives", "given")])
def test_quick_goes_with_neither_a_precision_nor_archives(
    command: Callable[..., Result], other: tuple[str, str]
) -> None:
    assert command(Told(), "--quick", *other).exit_code == 2


def in_store(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


def test_an_add_that_fails_leaves_no_archives(command: Callable[..., Result], given: Path, served: Path) -> None:
    before = in_store(served)
    options = ("--archives", given, "--model-store", served)
    assert command(Told(broken="tiny_image"), *options).exit_code != 0
    assert in_store(served) == before
    assert command(Told(stopped="tiny_image"), *options).exit_code != 0
    assert in_store(served) == before
    archive(served, "tiny_text", "text")
    assert command(Told(broken="tiny_image"), *options).exit_code != 0
    assert in_store(served) == sorted([*before, "tiny_text.mar"])
    done = command(Told(store=served), *options)
    assert done.exit_code == 0, done.output
    assert {"tiny_image.mar", "tiny_multimodal.mar", "tiny_text.mar"} < set(in_store(served))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda given: (given / "clip_image.mar").write_bytes(b"PK"), r"given/clip_image\.mar is missing, damaged"),
        (lambda given: archive(given, "clip_image", "image", fingerprint="another"), "of different models"),
        (
            lambda given: [mar.unlink() for mar in given.iterdir()],
            r"given has no clip_text\.mar, clip_image\.mar, clip_multimodal\.mar: build them",
        ),
    ],
)
def test_archives_are_checked_where_they_came_from(
    command: Callable[..., Result], given: Path, served: Path, spoil: Callable[[Path], object], said: str
) -> None:
    before = in_store(served)
    spoil(given)
    done = command(Told(), "--archives", given, "--model-store", served)
    assert isinstance(done.exception, BadModel)
    assert re.search(said, done.exception.message)
    assert in_store(served) == before


def test_another_model_store_is_named(command: Callable[..., Result], given: Path, served: Path) -> None:
    other = served.with_name("other")
    told = Told(store=served)
    done = command(told, "--archives", given, "--model-store", other)
    assert "no archive of demo lies there" in str(done.exception)
    assert not other.exists()
    archive(other, "clip_text", "text")
    done = command(told, "--archives", given, "--model-store", other)
    assert f"{other} is not this stack's model store (TorchServe finds no tiny_text.mar" in str(done.exception)
    assert in_store(other) == ["clip_text.mar"]


def test_two_of_one_name(rows: RowStore, store: Path) -> None:
    add(rows, store, Told()).run()
    told = Told()
    with pytest.raises(BadModel, match="'tiny' is served already") as caught:
        add(rows, store, told).run()
    assert "\n" not in caught.value.message
    clip = Addition(told, rows, row("clip", added=True), store)  # type: ignore[arg-type]
    with pytest.raises(BadModel, match="are those of 'demo'"):
        clip.run()
    assert told.steps == []


@pytest.mark.parametrize("name", ["a b", "../x", "é", "-x", "", "a/b", "x\ny"])
def test_names_that_no_endpoint_takes(name: str) -> None:
    with pytest.raises(BadModel, match="can't name endpoints"):
        row(name)


def test_one_that_does_not_fit_is_refused_before_it_loads(
    rows: RowStore, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.models.model_add.available", lambda: 500 * MB)
    told = Told()
    with pytest.raises(BadModel, match=r"about 0.9 GB of memory, and 0.5 GB are available"):
        add(rows, store, told).run()
    assert (names(rows), told.steps) == (["demo"], [])
    add(rows, store, told, force=True).run()
    assert names(rows) == ["demo", "tiny"]


def test_what_a_model_takes(tmp_path: Path) -> None:
    mars = [archive(tmp_path, "a", "text", weights=10 * MB), archive(tmp_path, "b", "image", workers=2)]
    assert estimate(mars) == 910 * MB + 2 * 1000
    running = [RunningWorker(700 * MB, 400 * MB), RunningWorker(250 * MB, 50 * MB)]
    assert estimate(mars, running) == 610 * MB + 2 * 1000
    with pytest.raises(BadModel):
        check_room("a", 900 * MB, 1000 * MB)
    check_room("a", 700 * MB, 1000 * MB)


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    assert available(tmp_path) == 100
    (tmp_path / "memory.stat").write_text("anon 300\nfile 600\ninactive_file 350\nactive_file 150\nshmem 100\n")
    assert available(tmp_path) == 600, "files that are cached make room"
    (tmp_path / "memory.max").write_text("max\n")
    assert available(tmp_path) > MB


def test_a_model_that_collections_need_stays(rows: RowStore, store: Path) -> None:
    told = Told()
    add(rows, store, told).run()
    with pytest.raises(Conflict, match=r"mine \(3 items\)"):
        remove(rows, told).run()
    assert (names(rows), len(told.endpoints)) == (["demo", "tiny"], 3)
    told.endpoints.clear()  # it does not answer: by its name
    with pytest.raises(Conflict, match="mine"):
        remove(rows, told).run()


def test_a_model_whose_vectors_another_one_makes_may_go(rows: RowStore, store: Path) -> None:
    told = Told()
    add(rows, store, told).run()
    told.endpoints["clip_text"] = 1
    remove(rows, told).run()
    assert (names(rows), told.endpoints) == (["demo"], {"clip_text": 1})


def test_an_unknown_model_is_said_with_those_that_are_served(rows: RowStore) -> None:
    with pytest.raises(BadModel, match="no model 'x'; served: demo"):
        rows.find("x")


def test_up_serves_what_was_added_again(rows: RowStore, store: Path) -> None:
    add(rows, store, Told()).run()
    notices: list[str] = []
    own = [UpModel("vit", row("vit", default=True))]
    assert [each.name for each in write_rows(rows, own, store, notices.append)] == ["vit", "tiny"]
    served = Batching({"text": {"batchSize": 4}}, {"vit": {}}).by_endpoint(rows.read())
    assert list(served)[:3] == ["clip_text", "clip_image", "clip_multimodal"]
    assert (served["clip_text"], served["tiny_text"], served["tiny_image"]) == ({}, {"batchSize": 4}, {})
    both = [*own, UpModel("tiny", row("tiny"))]
    assert [each.added for each in write_rows(rows, both, store, notices.append)] == [False, False]
    assert notices == []
    add_again = [row("vit", default=True), row("tiny", added=True)]
    rows.write(add_again)
    archives(store, "clip")  # no other model's stand in for its own
    (store / "tiny_text.mar").unlink()
    assert [each.name for each in write_rows(rows, own, store, notices.append)] == ["vit"]
    assert "tiny is served no more" in notices[0]


def test_a_damaged_file_is_no_reason_to_forget_models(rows: RowStore, store: Path) -> None:
    rows.path.write_text("{")
    with pytest.raises(BadModel, match="can't be used"):
        write_rows(rows, [], store, print)
    assert rows.path.read_text() == "{"


def asked(*named: str) -> Sequence[AskedModel]:
    return Asked.of(UpSettings(model=list(named))).models


def test_the_models_of_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = models_of(asked("demo", "vit-b-32,vit-l-14"))
    assert [(each.row.name, each.row.text, each.row.default) for each in models] == [
        ("demo", "clip_text", True),
        ("vit-b-32", "vit-b-32_text", False),
        ("vit-l-14", "vit-l-14_text", False),
    ]
    monkeypatch.setenv("CLIPSERVE_MODEL", "vit-b-32, demo")
    assert UpSettings().model == ("vit-b-32", "demo")
    (tmp_path / "a,b").mkdir()
    assert UpSettings(model=[str(tmp_path / "a,b")]).model == (str(tmp_path / "a,b"),)
    with pytest.raises(Exception, match="two models are named 'demo'"):
        models_of(asked("demo", "demo"))
    assert models_of(asked("")) == []


def test_endpoints_are_listed_in_full_where_there_is_no_terminal() -> None:
    class Describing(Told):
        def predict(self, *_: Any) -> Any:
            return {"fingerprint": "2ba82297e95dc33a", "dim": 96, "facts": {"precision": "fp32"}}

        def worker_pids(self, _: str) -> list[int]:
            return []

    rows = [row("demo", default=True, captions=True), row("siglip-b-16")]
    console = Console(width=80, record=True)
    show(console, table(Describing(), rows))  # type: ignore[arg-type]
    shown = console.export_text()
    assert "2ba82297e95dc33a" in shown
    assert all(f" {name}_{kind} " in shown for name in ("clip", "siglip-b-16") for kind in KINDS)
    assert "demo (default)" in shown


@pytest.mark.parametrize("command", [["add", "demo"], ["swap", "demo"]])
@pytest.mark.parametrize("other", [["--precision", "int8"], ["--archives", "x"]])
def test_quick_archives_are_built_one_way(command: list[str], other: list[str]) -> None:
    refused = CliRunner().invoke(app, ["model", *command, "--quick", *other])
    assert refused.exit_code == 2
    assert "--quick builds" in refused.output
