"""What TorchServe's context says of a request, and what it is told of the answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from clip_core.serving.answers import Answer

JSON, NDJSON = "application/json", "application/x-ndjson"


def headers_of(context: Any, index: int) -> dict[str, str]:
    """By names in lower case: TorchServe gives them as the client wrote them."""
    return {name.lower(): value for name, value in context.get_all_request_header(index).items()}


def is_grpc(headers: dict[str, str]) -> bool:
    """HTTP clients always name the host."""
    return "host" not in headers


def report(context: Any, index: int, answer: Answer, *, grpc: bool, content_type: str = JSON) -> None:
    context.set_response_content_type(index, content_type)
    if answer.status != 200:
        context.set_response_status(answer.status, _phrase(answer.status), index)
    if grpc:  # a streaming call waits for this header
        context.set_response_header(index, "ts_stream_next", "false")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def worker_name(arguments: Sequence[str]) -> str:
    """The number that TorchServe gave this worker, from its socket or port: a worker started again keeps it."""
    given = dict(itertools.pairwise(arguments))
    name = given.get("--sock-name") or given.get("--port") or "0"
    return name.rpartition(".")[2]
