"""The messages of the protocol's gRPC form, as protoc describes them in `open_inference.binpb`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from clip_core.errors import InvalidRequest

_FILE = Path(__file__).with_name("open_inference.binpb")


def message(kind: str, /, **fields: Any) -> Any:
    """A new message, such as `ModelReadyResponse`."""
    return _classes()[f"inference.{kind}"](**fields)


def read_message(kind: str, content: bytes) -> Any:
    """Raises InvalidRequest when the bytes are no such message."""
    try:
        return _classes()[f"inference.{kind}"].FromString(content)
    except Exception as error:  # DecodeError, of whichever implementation protobuf has chosen
        raise InvalidRequest(f"the message is no {kind}") from error


@cache
def _classes() -> Mapping[str, Any]:
    """In a pool of their own: another package of this process may bring messages of the same names."""
    files = descriptor_pb2.FileDescriptorSet.FromString(_FILE.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    return dict(message_factory.GetMessageClassesForFiles([file.name for file in files], pool))
