"""Secrets as helm sends its releases: in Kubernetes' protobuf envelope, which no library from PyPI reads.

Source: k8s.io/api/core/v1/generated.proto, and runtime.Unknown of k8s.io/apimachinery.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

_MAGIC = b"k8s\x00"
_RAW, _METADATA, _DATA, _TYPE = 2, 1, 2, 3
_NAME, _LABELS = 1, 11


def secret(body: bytes) -> dict[str, Any]:
    """As it would be in JSON."""
    assert body.startswith(_MAGIC)
    (content,) = _all(body[len(_MAGIC) :], _RAW)
    (metadata,) = _all(content, _METADATA)
    labels = dict(_pair(entry) for entry in _all(metadata, _LABELS))
    data = dict(_pair(entry) for entry in _all(content, _DATA))
    return {
        "metadata": {
            "name": _all(metadata, _NAME)[0].decode(),
            "labels": {name: value.decode() for name, value in labels.items()},
        },
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        "type": _all(content, _TYPE)[0].decode(),
    }


def _pair(entry: bytes) -> tuple[str, bytes]:
    values = _all(entry, 2)
    return _all(entry, 1)[0].decode(), values[0] if values else b""


def _all(message: bytes, number: int) -> list[bytes]:
    """The values of a field that has a length."""
    return [value for found, value in _fields(message) if found == number]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        length, at = _varint(message, at)  # or the value itself, of a number
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + length]
            at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if message[at - 1] < 0x80:
            return value, at
