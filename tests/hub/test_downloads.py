"""Weights of a hub on loopback, by the real huggingface_hub: whole, resumed, checked, and refused in one line."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants as constants
import pytest
from rich.console import Console

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE, WEIGHTS_FILE
from scripts.hub.fetch import fetch_repository
from scripts.hub.loopback_hub import LoopbackHub
from scripts.hub.provenance import Provenance
from scripts.hub.snapshots import HubName
from scripts.progress import SILENT, WorkProgress
from tests.hub.conftest import use

TINY = HubName("org/tiny")
Lay = Callable[..., Provenance]


@pytest.fixture
def lay(cache: Path, repository: Path) -> Lay:  # noqa: ARG001
    def call(name: HubName = TINY, progress: WorkProgress = SILENT) -> Provenance:
        return fetch_repository(name, progress)[1]

    return call


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def blob(cache: Path) -> Path:
    """The weights in the cache."""
    (found,) = cache.glob(f"models--org--tiny/snapshots/*/{WEIGHTS_FILE}")
    return found.resolve()


def refusal(lay: Lay, name: HubName = TINY) -> str:
    with pytest.raises(BadModel) as caught:
        lay(name)
    assert "\n" not in caught.value.message
    return caught.value.message


def grown(repository: Path) -> Path:
    """Weights large enough to be interrupted: huggingface_hub reads 10 MB at a time."""
    weights = repository / WEIGHTS_FILE
    weights.write_bytes(os.urandom(25_000_000))
    return weights


def test_a_repository_is_fetched_with_its_provenance(lay: Lay, hub: LoopbackHub, repository: Path, cache: Path) -> None:
    found = lay()
    commit = hub.repositories["org/tiny"].commit
    assert found == Provenance("hf-hub:org/tiny", commit, "mit", sha256(repository / WEIGHTS_FILE))
    folder = cache / "models--org--tiny" / "snapshots" / commit
    assert (folder / WEIGHTS_FILE).read_bytes() == (repository / WEIGHTS_FILE).read_bytes()
    assert (folder / CONFIG_FILE).read_bytes() == (repository / CONFIG_FILE).read_bytes()
    assert not hub.gets("model.onnx")


def test_what_is_cached_is_not_asked_for_again(lay: Lay, hub: LoopbackHub) -> None:
    first = lay()
    before = len(hub.asked)
    assert lay() == first
    assert [path for _, path, _ in hub.asked[before:]] == ["/api/models/org/tiny/revision/main"]


def test_huggingface_hub_finds_what_was_downloaded(lay: Lay, hub: LoopbackHub, cache: Path) -> None:
    from huggingface_hub import hf_hub_download

    lay()
    before = len(hub.gets(WEIGHTS_FILE))
    found = hf_hub_download("org/tiny", WEIGHTS_FILE, cache_dir=constants.HF_HUB_CACHE, endpoint=constants.ENDPOINT)
    assert Path(found).resolve() == blob(cache)
    assert len(hub.gets(WEIGHTS_FILE)) == before


def test_a_revision_is_pinned(lay: Lay, hub: LoopbackHub, repository: Path) -> None:
    commit = lay().revision
    (repository / CONFIG_FILE).write_text("{}", encoding="utf-8")
    assert hub.repositories["org/tiny"].commit != commit
    assert "has no revision v1" in refusal(lay, HubName("org/tiny", "v1"))


def test_a_cut_connection_goes_on_where_it_was_cut(lay: Lay, hub: LoopbackHub, repository: Path) -> None:
    weights = grown(repository)
    hub.faults.cut_after, hub.faults.cuts = 12_000_000, 1
    assert lay().weights_sha256 == sha256(weights)
    first, second = hub.gets(WEIGHTS_FILE)
    assert first[2] == ""
    assert second[2].startswith("bytes=1")


def test_an_interrupted_download_is_resumed_by_the_next_process(
    lay: Lay, hub: LoopbackHub, repository: Path, cache: Path
) -> None:
    weights = grown(repository)
    folder = cache / "models--org--tiny" / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{sha256(weights)}.clipserve.incomplete").write_bytes(weights.read_bytes()[:9_000_000])
    said = io.StringIO()
    assert lay(progress=WorkProgress(Console(file=said))).weights_sha256 == sha256(weights)
    assert [asked for _, _, asked in hub.gets(WEIGHTS_FILE)] == ["bytes=9000000-"]
    assert "from 9.0 MB on" in said.getvalue()
    assert not list(cache.rglob("*.incomplete"))


def test_a_rotten_part_is_fetched_anew(lay: Lay, hub: LoopbackHub, repository: Path, cache: Path) -> None:
    weights = grown(repository)
    folder = cache / "models--org--tiny" / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{sha256(weights)}.clipserve.incomplete").write_bytes(bytes(9_000_000))
    assert lay().weights_sha256 == sha256(weights)
    assert len(hub.gets(WEIGHTS_FILE)) == 2


def test_a_download_that_breaks_off_for_good_says_how_far_it_came(
    lay: Lay, hub: LoopbackHub, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    grown(repository)
    hub.faults.cut_after, hub.faults.cuts = 0, 99
    message = refusal(lay)
    assert "broke off at 0.0 of 25.0 MB" in message
    assert "the same command goes on" in message


def test_two_processes_may_fetch_at_once(lay: Lay, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that waited for the other shows the file in the same moment."""
    link_to = Path.symlink_to

    def late(link: Path, target: str) -> None:
        shown = link.with_name(link.name.removesuffix(f".{os.getpid()}.part"))
        if not shown.is_symlink():
            link_to(shown, target)
        link_to(link, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "symlink_to", late)
        lay()
    assert blob(cache).is_file()
    assert not list(cache.glob("**/*.part"))


def test_wrong_bytes_never_reach_the_cache(lay: Lay, hub: LoopbackHub, cache: Path) -> None:
    hub.faults.wrong_bytes = True
    assert "another digest" in refusal(lay)
    assert not list(cache.rglob(WEIGHTS_FILE))
    assert not list(cache.rglob("*.incomplete"))
    hub.faults.wrong_bytes = False
    assert lay().licence == "mit"


@pytest.mark.parametrize("damage", ["flipped", "half", "configuration"])
def test_a_damaged_cache_is_refused_and_fetched_anew_as_said(
    lay: Lay, cache: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lay()
    path = blob(cache)
    if damage == "configuration":
        (link,) = cache.glob(f"models--org--tiny/snapshots/*/{CONFIG_FILE}")
        path = link.resolve()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if damage == "half" else data)
    message = refusal(lay)
    assert "is damaged" in message
    assert f"`rm '{path}'`" in message
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "is damaged" in refusal(lay)
    path.unlink()
    assert lay() == whole


def test_offline_uses_the_cache_without_a_word(lay: Lay, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lay()
    before = len(hub.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = io.StringIO()
    assert lay(progress=WorkProgress(Console(file=said))) == first
    assert (said.getvalue(), len(hub.asked)) == ("", before)
    assert "HF_HUB_OFFLINE" in refusal(lay, HubName("org/other"))


def test_a_hub_that_is_away_is_said_and_the_cache_used(lay: Lay, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lay()
    use(monkeypatch, nobody(), cache)
    said = io.StringIO()
    assert lay(progress=WorkProgress(Console(file=said))) == first
    assert "does not answer: using hf-hub:org/tiny from the local cache" in " ".join(said.getvalue().split())


def nobody() -> str:
    """An address that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_hub_that_is_away_is_one_line(lay: Lay, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = nobody()
    use(monkeypatch, endpoint, cache)
    message = refusal(lay)
    assert message.startswith(f"{endpoint} does not answer")
    assert "a folder or file of weights" in message


def test_a_hub_that_never_answers_is_given_up(lay: Lay, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.hub.snapshots._ANSWER_S", 0.2)
    hub.faults.silent = True
    assert "does not answer (no answer within" in refusal(lay)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "has no model org/tiny, or it is private"), (403, "is gated: accept its terms"), (503, "answered 503")],
)
def test_what_the_hub_refuses_is_one_line(lay: Lay, hub: LoopbackHub, status: int, words: str) -> None:
    hub.repositories["org/tiny"].status = status
    assert words in refusal(lay)


def test_an_unknown_name_is_one_line(lay: Lay) -> None:
    assert "has no model org/nothing" in refusal(lay, HubName("org/nothing"))


@pytest.mark.parametrize("text", ["", "tiny", "hf-hub:", "hf-hub:a/b/c", "a/b@x y", "../b", "hf-hub:a b/c"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(BadModel, match="names no model of the hub"):
        HubName.parse(text)


def test_a_short_disk_is_said_before_anything_is_fetched(
    lay: Lay, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    message = refusal(lay)
    assert "hf-hub:org/tiny takes" in message
    assert "0 MB free" in message
    assert not hub.gets(WEIGHTS_FILE)


def test_a_repository_without_weights(lay: Lay, repository: Path) -> None:
    (repository / WEIGHTS_FILE).unlink()
    assert "has no file of weights that is known here" in refusal(lay)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: apple-ascl\n---\n", "apple-ascl"),
        ("no metadata", None),
        ("---\nlicense: [\n---\n", None),
    ],
)
def test_the_licence_stands_in_the_card(lay: Lay, repository: Path, card: str, licence: str | None) -> None:
    (repository / "README.md").write_text(card, encoding="utf-8")
    assert lay().licence == licence
