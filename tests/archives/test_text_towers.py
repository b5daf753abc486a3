"""An archive with a Hugging Face text tower, or tokenizer, serves without the hub; what is missing is said as such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from clip_core.errors import BadModel
from scripts.archive.assembly.tokenizers import check_vocabulary
from scripts.archive.build import build
from scripts.archive.mar_files import unpacked
from scripts.archive.model_source import load
from scripts.archive.resolver import resolve
from scripts.archive.verify import verify
from scripts.hub.snapshots import HubName, Snapshot
from tests.archives.forms import TEXTS, WORDS, of_open_clip, randomise
from tests.archives.test_forms import ON_CPU, pictures, same, served
from tests.checkpoints import VIT, write_checkpoint, write_word_tokenizer

ROBERTA: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
MT5: dict[str, Any] = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens there, and nothing is cached; in processes of `verify` as well."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(name: HubName, _: object) -> Snapshot:
        raise BadModel(f"the hub does not give {name.repository}")

    monkeypatch.setattr("scripts.hub.fetch.snapshot", refuse)


def tower(kind: str) -> Any:
    from transformers import MT5Config, RobertaConfig

    if kind == "roberta":
        return RobertaConfig(vocab_size=WORDS, pad_token_id=0, max_position_embeddings=40, **ROBERTA)
    return MT5Config(vocab_size=WORDS, pad_token_id=0, **MT5)


def write_model(folder: Path, kind: str = "roberta") -> Any:
    """The hub's layout: weights and configuration of open_clip, those of the text tower, and the tokenizer."""
    text = {"hf_model_name": f"org/{kind}", "hf_tokenizer_name": f"org/{kind}", "context_length": 16}
    model_cfg = {**VIT, "custom_text": True, "text_cfg": {**text, "hf_pooler_type": "mean_pooler"}}
    folder.mkdir()
    tower(kind).save_pretrained(folder)
    local = {**model_cfg, "text_cfg": {**model_cfg["text_cfg"], "hf_model_name": str(folder)}}
    work = folder / "work"
    work.mkdir()
    (work / "open_clip_config.json").write_text(json.dumps({"model_cfg": local}))
    model = open_clip.create_model(f"local-dir:{work}", load_weights=False, pretrained_text=False)
    shutil.rmtree(work)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}))
    randomise(model)
    state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    write_word_tokenizer(folder)
    return model


@pytest.mark.parametrize("kind", ["roberta", "mt5"])
def test_all_three_archives_serve_without_the_hub(kind: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "hub", kind)
    mars = build(str(tmp_path / "hub"), model_store=tmp_path / "store", **ON_CPU)
    shutil.rmtree(tmp_path / "hub")
    if kind == "roberta":  # in a clean process, which takes seconds; the picture tower's needs the text tower's, too
        assert min(verify(mars[1]).cosines) > 0.99999
    with unpacked(mars[2]) as directory:
        assert json.loads((directory / "text_config" / "config.json").read_text())["model_type"] == kind
        from clip_core.inputs.tokens import Tokenizer

        reference = Tokenizer.load(directory).reference
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(size=32), is_train=False)
    pixels = torch.stack([transform(each) for each in pictures(32)])
    assert same(served(mars[2]), of_open_clip(model, reference, pixels))


def test_a_missing_configuration_of_the_text_tower_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "hub")
    (tmp_path / "hub" / "config.json").unlink()
    with pytest.raises(
        BadModel, match=r"text tower's configuration \(config.json of org/roberta\) is not in .*hub"
    ) as e:
        build(str(tmp_path / "hub"), model_store=tmp_path / "store", **ON_CPU)
    assert "\n" not in e.value.message


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "hub")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "hub" / name).unlink()
    with pytest.raises(
        BadModel, match=r"the tokenizer of hub is missing: there is none in .*hub .*--tokenizer"
    ) as caught:
        build(str(tmp_path / "hub"), model_store=tmp_path / "store", **ON_CPU)
    assert "\n" not in caught.value.message
    tokenizer = write_word_tokenizer(tmp_path / "words")
    assert build(str(tmp_path / "hub"), model_store=tmp_path / "store", tokenizer=tokenizer, **ON_CPU)


@pytest.mark.parametrize("rows", [16, 40])
def test_a_tokenizer_of_another_model_is_noticed(rows: int, tmp_path: Path) -> None:
    config = {**VIT, "text_cfg": {**VIT["text_cfg"], "vocab_size": rows, "hf_tokenizer_name": "org/words"}}
    folder = write_word_tokenizer(write_checkpoint(tmp_path / "hub", config))
    with pytest.raises(BadModel, match=f"has 17 tokens and its text tower {rows} embeddings") as caught:
        build(str(folder), model_store=tmp_path / "store", **ON_CPU)
    assert "\n" not in caught.value.message


def test_a_tokenizer_is_used_where_the_architecture_names_none(tmp_path: Path) -> None:
    words = write_word_tokenizer(tmp_path / "words")
    for rows in (WORDS, 49408):
        config = {**VIT, "text_cfg": {**VIT["text_cfg"], "vocab_size": rows}}
        write_checkpoint(tmp_path / f"hub{rows}", config)
    loaded = load(resolve(str(tmp_path / f"hub{WORDS}"), tokenizer=words).source)
    assert loaded.tokenizer(["a red circle"])[0].tolist()[:4] == [3, 10, 13, 1]
    (mar, *_) = build(str(tmp_path / f"hub{WORDS}"), model_store=tmp_path / "store", tokenizer=words, **ON_CPU)
    assert mar.is_file()
    with pytest.raises(BadModel, match="has 17 tokens and its text tower 49,408 embeddings"):
        load(resolve(str(tmp_path / "hub49408"), tokenizer=words).source)


def test_a_folder_without_a_tokenizer_is_not_passed_over(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "hub")
    (tmp_path / "none").mkdir()
    with pytest.raises(BadModel, match=r"there is no tokenizer in \S+none: name a folder with") as caught:
        load(resolve(str(folder), tokenizer=tmp_path / "none").source)
    assert "\n" not in caught.value.message


def test_embeddings_that_are_padded_to_a_round_number_are_fine(checkpoint: Path) -> None:
    model = open_clip.create_model(f"local-dir:{checkpoint}")
    check_vocabulary("m", open_clip.get_tokenizer(f"local-dir:{checkpoint}"), model)
    model.token_embedding = torch.nn.Embedding(49408 + 64, 32)
    check_vocabulary("m", open_clip.get_tokenizer(f"local-dir:{checkpoint}"), model)


def test_an_architecture_of_ones_own_with_a_tokenizer_beside_it(tmp_path: Path) -> None:
    """The configuration names the tokenizer's folder as it lies beside it."""
    text = {**VIT["text_cfg"], "vocab_size": WORDS, "hf_tokenizer_name": "words", "context_length": 12}
    config = {**VIT, "custom_text": True, "text_cfg": {**text, "no_causal_mask": True, "pool_type": "last"}}
    weights = write_checkpoint(tmp_path / "work", config) / "open_clip_model.safetensors"
    shutil.move(weights, tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text(json.dumps(config))
    write_word_tokenizer(tmp_path / "words")
    mars = build(
        str(tmp_path / "mine.safetensors"),
        model_store=tmp_path / "store",
        architecture=str(tmp_path / "mine.json"),
        **ON_CPU,
    )
    assert min(verify(mars[0]).cosines) > 0.99999
    texts, _ = served(mars[2])
    assert len(texts) == len(TEXTS)
