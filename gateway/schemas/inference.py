"""The bodies and answers of /v2 in JSON. Unknown fields are tolerated, as the protocol asks for."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.schemas.base import Schema, example

_INPUT = {"name": "TEXT", "shape": [2], "datatype": "BYTES", "data": ["a red circle", "a blue star"]}
Parameters = dict[str, Any]


class InferenceInput(Schema):
    model_config = example(_INPUT, extra="allow")
    name: str = Field(max_length=64, description="TEXT or IMAGE.")
    shape: list[int] = Field(max_length=8)
    datatype: str = Field(description="BYTES; pictures also UINT8: pixels of shape [n, height, width, 3], or files.")
    parameters: Parameters | None = Field(None, description="`binary_data_size`: the data are bytes after the JSON.")
    data: list[Any] | None = Field(None, description="Texts; pictures as base64 or data: URLs.")


class RequestedOutput(Schema):
    model_config = example({"name": "EMBEDDING", "parameters": {"binary_data": True}}, extra="allow")
    name: str
    parameters: Parameters | None = None


class InferenceRequest(Schema):
    model_config = example({"id": "7", "inputs": [_INPUT]}, extra="allow")
    id: str | None = None
    parameters: Parameters | None = Field(
        None, description="`binary_data_output`; and `dimensions` and `truncate` as /v1/embeddings takes them."
    )
    inputs: list[InferenceInput] = Field(min_length=1, max_length=8)
    outputs: list[RequestedOutput] | None = None


class InferenceOutput(Schema):
    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: list[float] | None = None


class InferenceAnswer(Schema):
    model_config = example(
        {
            "model_name": "demo",
            "model_version": "1",
            "id": "7",
            "outputs": [{"name": "EMBEDDING", "datatype": "FP32", "shape": [1, 2], "data": [0.6, -0.8]}],
        }
    )
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferenceOutput]


class TensorFacts(Schema):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1: any number.")


class ModelMetadata(Schema):
    model_config = example(
        {
            "name": "demo",
            "versions": ["1"],
            "platform": "torchserve",
            "inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "EMBEDDING", "datatype": "FP32", "shape": [-1, 96]}],
        }
    )
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


class ServerMetadata(Schema):
    model_config = example({"name": "clipserve", "version": "0.1.0", "extensions": ["binary_tensor_data"]})
    name: str
    version: str
    extensions: list[str]


class LiveAnswer(Schema):
    model_config = example({"live": True})
    live: bool


class ServerReadyAnswer(Schema):
    model_config = example({"ready": True})
    ready: bool


class ModelReadyAnswer(Schema):
    model_config = example({"name": "demo", "ready": True})
    name: str
    ready: bool


class KserveError(Schema):
    model_config = example({"error": "the model 'other' is not served; 'demo' is"})
    error: str
