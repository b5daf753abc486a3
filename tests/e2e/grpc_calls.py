"""TorchServe's gRPC calls `Predictions` and `StreamPredictions`, with their two messages declared here."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SERVICE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService"


def predict(port: int, model: str, parts: Mapping[str, bytes]) -> bytes:
    """The payload of the answer."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            f"{_SERVICE}/Predictions", _serialized, _messages()["p.PredictionResponse"].FromString
        )
        return bytes(call(_request(model, parts), timeout=30).prediction)


def stream(port: int, model: str, parts: Mapping[str, bytes]) -> Iterator[bytes]:
    """The payloads as they come."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        reply = _messages()["p.PredictionResponse"].FromString
        call = channel.unary_stream(f"{_SERVICE}/StreamPredictions", _serialized, reply)
        for answer in call(_request(model, parts), timeout=30):
            yield bytes(answer.prediction)


def _request(model: str, parts: Mapping[str, bytes]) -> Any:
    return _messages()["p.PredictionsRequest"](model_name=model, input=dict(parts))


def _serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString())


@functools.cache
def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="inference.proto", package="p", syntax="proto3")
    request = file.message_type.add(name="PredictionsRequest")
    string, data = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    for number, (name, repeated, kind) in enumerate(
        [
            ("model_name", 1, string),
            ("model_version", 1, string),
            ("input", 3, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE),
        ],
        1,
    ):
        field = request.field.add(name=name, number=number, label=repeated, type=kind)
    field.type_name = ".p.PredictionsRequest.InputEntry"
    entry = request.nested_type.add(name="InputEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=1, type=string)
    entry.field.add(name="value", number=2, label=1, type=data)
    file.message_type.add(name="PredictionResponse").field.add(name="prediction", number=1, label=1, type=data)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return dict(message_factory.GetMessageClassesForFiles(["inference.proto"], pool))
