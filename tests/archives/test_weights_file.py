"""Files of weights: tensors are read, and nothing else; what is no file of weights is said in one line."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clip_core.errors import BadModel
from scripts.archive.assembly.weights_file import read_state

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}


class MakesAFile:
    """A pickle that would create `path` if anybody ran it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mknod, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path, legacy: bool, nested: bool) -> None:
    trap = MakesAFile(tmp_path / "ran")
    body = {"state_dict": STATE, "args": trap} if nested else trap
    torch.save(body, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(BadModel, match="more than weights, and nothing of it was run") as caught:
        read_state(tmp_path / "w.pt")
    assert "\n" not in caught.value.message
    assert "mknod" in caught.value.message
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("legacy", [False, True])
def test_a_plain_pickle_is_refused(tmp_path: Path, protocol: int, legacy: bool) -> None:
    body = {"state_dict": OrderedDict(a=1, mknod="posix"), "args": [MakesAFile(tmp_path / "ran"), "posix"]}
    if legacy:
        torch.save(body, tmp_path / "w.bin", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    else:
        (tmp_path / "w.bin").write_bytes(pickle.dumps(body, protocol))
    with pytest.raises(BadModel, match=r"it names posix\.mknod\. ") as caught:
        read_state(tmp_path / "w.bin")
    assert "\n" not in caught.value.message
    assert not (tmp_path / "ran").exists()


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(BadModel, match=r"Linear.*state_dict"):
        read_state(tmp_path / "w.pt")


def test_a_program_is_no_file_of_weights(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/code/__torch__.py", b"")
    with pytest.raises(BadModel, match="TorchScript"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "legacy.pt", "w.safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_half_a_file_is_one_line(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    state = {key: torch.randn(40, 50) for key in "abc"}
    if name.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "w.pt")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadModel, match="damaged or not whole") as caught:
        read_state(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"<!doctype html><html>not found</html>", "no file of weights"),
        (b"\x00" * 100, "no file of weights"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(BadModel, match=re.escape(message)):
        read_state(tmp_path / "w.bin")


@pytest.mark.parametrize("body", [[1, 2], torch.ones(3), {}, {"epoch": 3}, {"state_dict": {"x": 3}}])
def test_a_pickle_without_a_state_dict(tmp_path: Path, body: object) -> None:
    torch.save(body, tmp_path / "w.pt")
    with pytest.raises(BadModel, match=r"no state dict|no weights"):
        read_state(tmp_path / "w.pt")


def test_what_is_there_instead_of_a_state_dict_is_named(tmp_path: Path) -> None:
    torch.save({"net": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(BadModel, match="holds no weights but net, epoch: save the state dict alone"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["base_model.model.x.q_proj.lora_A.default.weight", "lora_te_x.lora_down.weight"])
def test_an_adapter_is_not_taken_for_weights(tmp_path: Path, name: str) -> None:
    torch.save({name: torch.ones(1), "base_model.model.x.q_proj.base_layer.weight": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(BadModel, match=r"holds a LoRA adapter .* merge it"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model."])
@pytest.mark.parametrize("nest", [(), ("state_dict",), ("model",), ("model", "state_dict")])
def test_prefixes_and_nests_of_training_programs(tmp_path: Path, prefix: str, nest: tuple[str, ...]) -> None:
    body: dict[str, object] = {prefix + key: value for key, value in STATE.items()}
    for name in reversed(nest):
        body = {"epoch": 3, "optimizer": {"state": {0: torch.ones(3)}}, name: body}
    torch.save(body, tmp_path / "w.pt")
    found = read_state(tmp_path / "w.pt")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


def test_a_prefix_that_some_names_lack_stays(tmp_path: Path) -> None:
    torch.save({"model.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert set(read_state(tmp_path / "w.pt")) == {"model.a", "b"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "w.pt").touch(mode=0)
    with pytest.raises(BadModel, match="can't be read: Permission denied"):
        read_state(tmp_path / "w.pt")


def test_an_index_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}')
    with pytest.raises(BadModel, match="outside its folder"):
        read_state(tmp_path / "model.safetensors.index.json")
