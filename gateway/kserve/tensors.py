"""Tensors of the Open Inference Protocol (KServe v2): named, typed, shaped, as JSON values or as raw bytes.

Sources: the protocol's "required API" and Triton's binary tensor data extension.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clip_core.errors import InvalidRequest

LENGTH_BYTES = 4  # little-endian, before each element of a BYTES tensor
Elements = Sequence[str] | Sequence[bytes] | bytes


@dataclass(frozen=True)
class InputTensor:
    """`elements`: of BYTES in row-major order, `str` from JSON and `bytes` from raw data; of UINT8 the bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: Elements


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> InputTensor:
    """Raises InvalidRequest unless the bytes are what the type and the shape say."""
    elements: Elements = unpacked(raw, name) if check_datatype(name, datatype) == "BYTES" else raw
    return _checked(InputTensor(name, datatype, tuple(shape), elements))


def from_json(name: str, datatype: str, shape: Sequence[int], data: Sequence[Any]) -> InputTensor:
    """`data` is flat or nested. Raises InvalidRequest unless it is what the type and the shape say."""
    kind = str if check_datatype(name, datatype) == "BYTES" else int
    flat = list(_flattened(data))
    if not all(type(value) is kind for value in flat):
        raise InvalidRequest(f"the data of {datatype} in JSON are {_SAID[kind]}", param=name)
    try:
        elements: Elements = flat if kind is str else bytes(flat)
    except ValueError as error:
        raise InvalidRequest("the data of UINT8 are numbers from 0 to 255", param=name) from error
    return _checked(InputTensor(name, datatype, tuple(shape), elements))


_SAID = {str: "strings", int: "whole numbers"}


def check_datatype(name: str, datatype: str) -> str:
    """Raises InvalidRequest for a type that no input has."""
    if datatype not in ("BYTES", "UINT8"):
        raise InvalidRequest(f"an input's datatype is BYTES or UINT8, not {datatype[:32]!r}", param=name)
    return datatype


def packed(elements: Iterable[bytes]) -> bytes:
    """The raw form of a BYTES tensor."""
    return b"".join(part for each in elements for part in (len(each).to_bytes(LENGTH_BYTES, "little"), each))


def unpacked(raw: bytes, name: str) -> list[bytes]:
    """The elements of a raw BYTES tensor. Raises InvalidRequest when a length leads beyond the end."""
    found, start = [], 0
    while start < len(raw):
        begin = start + LENGTH_BYTES
        start = begin + int.from_bytes(raw[start:begin], "little")
        if begin > len(raw) or start > len(raw):
            raise InvalidRequest("raw BYTES have four bytes of length before each element; these end early", param=name)
        found.append(raw[begin:start])
    return found


def _flattened(data: Iterable[Any]) -> Iterator[Any]:
    """Depth first. A stack instead of recursion: JSON may be nested deeper than Python may call."""
    waiting = [iter(data)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, list):
                waiting.append(iter(value))
                break
            yield value
        else:
            waiting.pop()


def _checked(tensor: InputTensor) -> InputTensor:
    if not tensor.shape or min(tensor.shape) < 0 or math.prod(tensor.shape) != len(tensor.elements):
        raise InvalidRequest(
            f"an input of shape {list(tensor.shape)} does not have {len(tensor.elements)} elements", param=tensor.name
        )
    return tensor
