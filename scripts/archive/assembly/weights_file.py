"""A file of weights → a state dict. Tensors only: a pickle that names anything else is refused, and never run."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_core.errors import BadModel
from clipserve_client.answers.reading import oddity
from scripts.archive.assembly.parts import State
from scripts.archive.assembly.pickle_names import first_name
from scripts.hub.refusals import first_line

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
INDEX = ".index.json"
_NESTS = ("state_dict", "model_state_dict", "model")  # where training programs keep the weights, beside the optimizer
_PREFIXES = ("module.", "_orig_mod.", "model.", "clip.")  # of wrappers: DataParallel, torch.compile, Lightning
_ADAPTER = re.compile(r"\blora_[AB]\b|\blora_(down|up)\b")
_LEGACY = ("input_resolution", "context_length", "vocab_size")  # facts that OpenAI's files keep among the weights


def read_state(path: Path) -> State:
    """Tensors by name, without the prefixes of wrappers; on the file's own pages where it can be mapped.

    Raises BadModel.
    """
    if path.name.endswith(INDEX):
        return _of_shards(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise BadModel(f"{path} can't be read: {error.strerror}") from error
    read = _read_safetensors if _is_safetensors(head) else _read_pickle
    _check_kind(path, head)
    return _stripped(path, _weights_in(path, read(path)))


def _check_kind(path: Path, head: bytes) -> None:
    if not head:
        raise BadModel(f"{path} is empty")
    if head.startswith(b"version https://git-lfs"):
        raise BadModel(f"{path} is a pointer of Git LFS and holds no weights: fetch them with `git lfs pull`")
    if not (_is_safetensors(head) or head.startswith((b"PK\x03\x04", b"\x80"))):
        raise BadModel(f"{path} is no file of weights: PyTorch's (.pt, .bin) and safetensors are read")


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    try:
        state: State = load_file(path)
        return state
    except Exception as error:  # safetensors raises its own untyped errors
        raise BadModel(f"{path} is damaged or not whole: {first_line(error)}") from error


def _read_pickle(path: Path) -> Any:
    mapped = zipfile.is_zipfile(path)
    if mapped and _is_program(path):
        raise BadModel(f"{path} is a TorchScript program, not weights: save its `state_dict()` and give that file")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)  # what is wrong is raised, too
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise BadModel(
                f"{path} holds more than weights, and nothing of it was run: it names {_refused_name(path, error)}. "
                "Save the model's `state_dict()` alone, best as safetensors"
            ) from error
        raise BadModel(f"{path} is damaged or not whole: {first_line(error)}") from error
    except Exception as error:  # torch raises many kinds for half a file
        raise BadModel(f"{path} is damaged or not whole: {first_line(error)}") from error


def _is_program(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def _refused_name(path: Path, error: Exception) -> str:
    """What was in the pickle: of torch's long advice on it, or, where torch met a newer opcode, as the file has it."""
    found = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:class|type) ([\w.]+)", str(error))
    return (found[1] or found[2]) if found else first_name(path) or "something else"


def _of_shards(path: Path) -> State:
    """The files that an index names, such as `model.safetensors.index.json`."""
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadModel(f"{path} is no index of weights: {oddity(error)}") from error
    state: State = {}
    for name in sorted(names):
        if Path(name).name != name:
            raise BadModel(f"{path} names a file outside its folder: {name!r}")
        state |= read_state(path.with_name(name))
    return state


def _weights_in(path: Path, body: Any) -> Mapping[str, Any]:
    while isinstance(body, Mapping) and (nest := next((n for n in _NESTS if isinstance(body.get(n), Mapping)), None)):
        body = body[nest]
    if not isinstance(body, Mapping):
        raise BadModel(f"{path} holds a {type(body).__name__} and no state dict")
    return body


def _stripped(path: Path, body: Mapping[str, Any]) -> State:
    state = {str(key): value for key, value in body.items() if isinstance(value, Tensor) and key not in _LEGACY}
    if not state:
        raise BadModel(f"{path} holds no weights{_said(body)}")
    if adapted := next((key for key in state if _ADAPTER.search(key)), None):
        raise BadModel(
            f"{path} holds a LoRA adapter ({adapted}) beside or instead of the weights: merge it "
            "(`merge_and_unload()` of PEFT) and save that"
        )
    while prefix := next((each for each in _PREFIXES if all(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _said(body: Mapping[str, Any]) -> str:
    """What there is instead: a training program of one's own may keep them under any name."""
    names = ", ".join(map(str, list(body)[:5]))
    return f" but {names[:100]}: save the state dict alone, or as `state_dict`" if names else ""
