"""A captioner's archive: which models have one, what it holds, and that it loads in a clean process."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from clip_core.captions.captioner import Captioner
from clip_core.errors import BadModel
from clip_core.model_spec import ModelSpec
from clip_core.serving.captions.canaries import check
from scripts.archive.build import build, captions_of, stage_folder, standing
from scripts.archive.build_key import build_key
from scripts.archive.resolver import resolve
from scripts.archive.verify import verify
from scripts.models.memory import captions_bytes
from tests.captioners import COCA, write_captioner
from tests.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioner(tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module")
def mars(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> dict[str, Path]:
    """Kind → archive, of a CoCa that embeds and captions."""
    store = tmp_path_factory.mktemp("store")
    built = build(str(checkpoint), model_store=store, quick=True)
    return {path.stem.removeprefix("clip_"): path for path in built}


def test_which_models_have_a_captioner(checkpoint: Path, tmp_path: Path) -> None:
    plain = write_checkpoint(tmp_path / "plain")
    wanted = {
        str(checkpoint): True,
        "coca-vit-b-32": True,
        "coca_ViT-L-14/laion2b_s13b_b90k": True,
        str(plain): False,
        "vit-b-32": False,
    }
    assert {model: captions_of(model) for model in wanted} == wanted
    assert resolve(str(checkpoint)).source.captioner_compile
    assert not resolve(str(checkpoint), compile=False).source.captioner_compile
    with pytest.raises(BadModel, match="no decoder"):
        build("coca-vit-b-32", checkpoint=plain, model_store=tmp_path, quick=True)


def test_a_coca_embeds_and_captions(mars: dict[str, Path], checkpoint: Path) -> None:
    assert list(mars) == ["text", "image", "multimodal", "caption"]
    seen = verify(mars["caption"])
    assert (seen.kind, seen.dim, seen.cosines) == ("caption", 0, [])
    assert seen.tokens > 10
    assert standing(str(checkpoint), model_store=mars["caption"].parent) == "quick"
    settings = zipfile.ZipFile(mars["caption"]).read("model-config.yaml").decode()
    assert "continuousBatching: true" in settings
    assert captions_bytes(mars["caption"]) > 48 * 2 * 4 * 32 * 2 * 17
    assert captions_bytes(mars["text"]) == 0


def test_it_loads_without_open_clip(mars: dict[str, Path], tmp_path: Path) -> None:
    """Whose import takes longer than all else at the start of a worker."""
    zipfile.ZipFile(mars["caption"]).extractall(tmp_path)
    program = (
        "import json, sys; from pathlib import Path; folder = Path(sys.argv[1]); sys.path.insert(0, str(folder))\n"
        "import clip_core.serving.captions.handler, clip_core.serving.admin, clip_core.serving.worker\n"
        "from clip_core.captions.captioner import Captioner\n"
        "Captioner.load(folder).warm_up(); print(json.dumps(list(sys.modules)))"
    )
    command = [sys.executable, "-I", "-c", program, str(tmp_path)]
    modules = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert "clip_core.captions.captioner" in modules
    assert {"open_clip", "torchvision", "timm", "transformers", "torch._dynamo"} & set(modules) == set()


def test_a_captioner_is_left_out_where_none_is_wanted(checkpoint: Path, tmp_path: Path) -> None:
    built = build(str(checkpoint), model_store=tmp_path, quick=True, captions=False)
    assert [path.stem for path in built] == ["clip_text", "clip_image", "clip_multimodal"]
    assert not (tmp_path / "clip_caption.mar").exists()


def test_a_captioner_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """With its own weights in half precision, and a vocabulary of its own."""
    model, staged = tmp_path / "model", tmp_path / "staged"
    write_checkpoint(model)
    _write_with_own_words(model / "captioner")
    (model / "model.yaml").write_text("name: two\ncheckpoint: .\ncompile: false\ncaptioner: captioner\n")
    stage_folder(str(model), "caption", staged)
    captioner = Captioner.load(staged / "files")
    assert check(captioner, "fp32", staged / "files") > 4
    assert ModelSpec.read(staged / "files").name == "two"
    kept = load_file(staged / "files" / "open_clip_model.safetensors")
    assert {str(each.dtype) for each in kept.values()} == {"float16"}
    before = build_key(resolve(str(model)))
    (model / "captioner" / "words.txt.gz").write_bytes(gzip.compress(b"#version: 0.2\na b\ns t"))
    assert build_key(resolve(str(model))) != before


WORDS = 512 + 2 + 2  # bytes, bytes at a word's end, two merges, start and end


def _write_with_own_words(folder: Path) -> None:
    """A captioner with a vocabulary of bytes and two merges, and weights that half precision holds."""
    words = {"vocab_size": WORDS, "tokenizer_kwargs": {"bpe_path": "words.txt.gz"}}
    config = {**COCA, "text_cfg": {**COCA["text_cfg"], **words}}
    config["multimodal_cfg"] = {**COCA["multimodal_cfg"], "vocab_size": WORDS}
    folder.mkdir()
    (folder / "words.txt.gz").write_bytes(gzip.compress(b"#version: 0.2\na b\nr e"))
    path = write_checkpoint(folder, config) / "open_clip_model.safetensors"
    save_file({name: each.astype("float16") for name, each in load_file(path).items()}, path)
