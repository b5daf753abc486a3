"""KServe v2 requests: every BYTES tensor named text or image is a list of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_core.errors import BadInput
from clip_core.inputs.request import Accepts


def v2_inputs(body: Mapping[str, Any], accepts: Accepts) -> list[Any]:
    """The inputs of all tensors, as the `input` of our JSON has them. Raises BadInput."""
    tensors, parameters = body["inputs"], v2_parameters(body)
    if not isinstance(tensors, list) or not tensors or not isinstance(parameters, Mapping):
        raise BadInput('KServe v2: "inputs" is a list of tensors, "parameters" an object', param="inputs")
    return [value for tensor in tensors for value in _v2_tensor(tensor, accepts)]


def v2_parameters(body: Mapping[str, Any]) -> Any:
    """The object that holds the options; empty where there is none."""
    return body.get("parameters") or {}


def v2_places(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The name of each input for error messages, such as text[0]. The body is one that `v2_inputs` accepts."""
    return tuple(
        f"{tensor.get('name', 'inputs')}[{i}]" for tensor in body["inputs"] for i in range(len(tensor["data"]))
    )


def _v2_tensor(tensor: Any, accepts: Accepts) -> list[Any]:
    if not isinstance(tensor, Mapping) or tensor.get("datatype") != "BYTES" or not isinstance(tensor.get("data"), list):
        raise BadInput('KServe v2: a tensor has "name", "shape", "datatype": "BYTES" and a "data" list', param="inputs")
    name = tensor.get("name")
    kind = name if name in ("text", "image") else accepts.bare
    shape = tensor.get("shape", [len(tensor["data"])])
    if not isinstance(shape, list) or any(type(n) is not int for n in shape) or _product(shape) != len(tensor["data"]):
        raise BadInput(f"KServe v2: shape {shape} does not hold {len(tensor['data'])} elements", param="inputs")
    return [{kind: value} for value in tensor["data"]]


def _product(shape: list[int]) -> int:
    product = 1
    for n in shape:
        product *= n
    return product
