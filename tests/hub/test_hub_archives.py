"""Archives of models on the hub: the same as of local weights, with where they come from in their specs."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from clip_core.errors import BadModel
from clip_core.model_spec import CONFIG_FILE, WEIGHTS_FILE, ModelSpec
from scripts.archive.build import build
from scripts.archive.forms import pretrained_tag
from scripts.archive.mar_files import read_spec
from scripts.archive.model_source import ModelSource, load
from scripts.archive.places import ROOT
from scripts.archive.resolver import resolve
from scripts.hub.fetch import fetch_repository
from scripts.hub.loopback_hub import LoopbackHub
from scripts.hub.snapshots import HubName
from scripts.progress import SILENT
from tests.checkpoints import VIT, write_checkpoint, write_word_tokenizer

pytestmark = pytest.mark.usefixtures("cache")


TINY = "hf-hub:org/tiny"
QUICK: dict[str, Any] = {"precision": "fp32", "compile": False}


def spec_of(mar: Path) -> ModelSpec:
    spec = read_spec(mar)
    assert spec is not None
    return spec


def test_an_archive_says_where_its_weights_come_from(
    repository: Path, checkpoint: Path, hub: LoopbackHub, tmp_path: Path
) -> None:
    fetched = spec_of(build(TINY, model_store=tmp_path / "store", **QUICK)[0])
    digest = hashlib.sha256((repository / WEIGHTS_FILE).read_bytes()).hexdigest()
    commit = hub.repositories["org/tiny"].commit
    given = (fetched.source, fetched.revision, fetched.licence, fetched.weights_sha256)
    assert given == (TINY, commit, "mit", digest)
    local = spec_of(build(str(checkpoint), model_store=tmp_path / "local", **QUICK)[0])
    assert (local.fingerprint, local.weights_sha256) == (fetched.fingerprint, digest)
    assert (local.source, local.revision, local.licence) == (None, None, None)


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("form", ["given name", "hf-hub"])
def test_vectors_from_the_hub_are_open_clips(form: str, checkpoint: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "model.yaml").write_text("name: given\nhub: org/tiny\n", encoding="utf-8")
    ours = load(resolve(str(given) if form == "given name" else TINY, **QUICK).source)
    theirs = open_clip.create_model(f"local-dir:{checkpoint}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{checkpoint}")(["a red circle", "two dogs"])
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (ours.tokenizer(["a red circle", "two dogs"]) == tokens).all()
        assert (ours.model.encode_text(tokens) - theirs.encode_text(tokens)).abs().max() < 1e-5
        assert (ours.model.encode_image(pixels) - theirs.encode_image(pixels)).abs().max() < 1e-5


@pytest.mark.usefixtures("repository")
def test_an_archive_that_is_there_needs_no_hub(hub: LoopbackHub, tmp_path: Path) -> None:
    build(TINY, model_store=tmp_path / "store", **QUICK)
    before = len(hub.asked)
    build(TINY, model_store=tmp_path / "store", **QUICK)
    assert len(hub.asked) == before


@pytest.mark.usefixtures("repository")
def test_a_damaged_download_is_never_packed(cache: Path, tmp_path: Path) -> None:
    build(TINY, model_store=tmp_path / "store", **QUICK)
    (link,) = cache.glob(f"models--org--tiny/snapshots/*/{WEIGHTS_FILE}")
    data = bytearray(link.read_bytes())
    data[-1] ^= 1
    link.resolve().write_bytes(data)
    with pytest.raises(BadModel, match="is damaged"):
        build(TINY, model_store=tmp_path / "other", **QUICK)
    assert not list((tmp_path / "other").glob("*.mar"))


@pytest.fixture
def tag(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A tag of open_clip's own table, with weights of a small architecture and preprocessing of its own."""
    architecture, folder = "Tiny-CLIP", tmp_path / "tag"
    write_checkpoint(folder, VIT)
    (folder / CONFIG_FILE).unlink()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", encoding="utf-8")
    hub.add("org/tag", folder)
    known = {"hf_hub": "org/tag/", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bilinear"}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, architecture, VIT)
    monkeypatch.setattr(pretrained_tag, "read_architecture", lambda _: ({**VIT}, {}))
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, {"own": known})
    return architecture, "own"


def test_a_tag_comes_from_the_hub_as_well(tag: tuple[str, str], cache: Path) -> None:
    loaded = load(ModelSource(name="tag", architecture=tag[0], pretrained=tag[1]))
    theirs = open_clip.create_model(tag[0], pretrained=tag[1], cache_dir=str(cache))
    ours, reference = (open_clip.get_model_preprocess_cfg(model) for model in (loaded.model, theirs))
    assert json.loads(json.dumps(ours)) == json.loads(json.dumps(reference))
    assert all((loaded.model.state_dict()[name] == tensor).all() for name, tensor in theirs.state_dict().items())
    assert (loaded.provenance.source, loaded.provenance.licence) == ("hf-hub:org/tag", "apache-2.0")


def test_a_tokenizer_of_another_repository_comes_along(hub: LoopbackHub, tmp_path: Path) -> None:
    text = {**VIT["text_cfg"], "hf_tokenizer_name": "org/words", "context_length": 16, "vocab_size": 17}
    hub.add("org/weights", write_checkpoint(tmp_path / "weights", {**VIT, "text_cfg": text}))
    hub.add("org/words", write_word_tokenizer(tmp_path / "words"))
    loaded = load(ModelSource(name="words", hub="org/weights"))
    assert loaded.tokenizer(["a red circle"]).shape == (1, 16)


def test_weights_in_several_files_are_all_fetched(hub: LoopbackHub, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "other.safetensors"):
        (folder / name).write_bytes(name.encode())
    (folder / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    hub.add("org/parts", folder)
    found, provenance = fetch_repository(HubName("org/parts"), SILENT)
    assert sorted(path.name for path in found.iterdir()) == sorted(
        path.name for path in folder.iterdir() if path.name != "other.safetensors"
    )
    assert len(str(provenance.weights_sha256)) == 64


def test_ctrl_c_says_that_it_goes_on(hub: LoopbackHub, repository: Path, tmp_path: Path) -> None:
    """As typed: one line, status 130, and what arrived is kept."""
    with (repository / WEIGHTS_FILE).open("ab") as weights:
        weights.write(bytes(60_000_000))
    hub.faults.seconds_a_chunk = 0.02
    command = [sys.executable, "-m", "scripts", "archive", "build", TINY, "--model-store", str(tmp_path / "store")]
    part = tmp_path / "cache" / "models--org--tiny" / "blobs"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        while not any(path.stat().st_size > 10**6 for path in part.glob("*.clipserve.incomplete")):  # the weights
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[0]
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert any(path.stat().st_size for path in part.glob("*.clipserve.incomplete"))
