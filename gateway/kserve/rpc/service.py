"""`inference.GRPCInferenceService`: each call is one of /v2 in this process, so that keys and limits are the same."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc
import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp

from clip_core.errors import ClipServeError
from gateway.kserve.rpc.in_process import Address, HttpAnswer, answer_of
from gateway.kserve.rpc.incoming import Incoming
from gateway.kserve.rpc.messages import read_message
from gateway.kserve.rpc.translation import RPCS, Rpc
from gateway.middleware.deadlines import HEADER as DEADLINE

_PASSED_ON = ("authorization", "x-api-key", "x-request-id", "traceparent")
_GIVEN_BACK = ("x-request-id", "server-timing", "retry-after")
_LONGEST_S = 999_999.0
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


_log = logging.getLogger("gateway.kserve.rpc.service")


class InferenceService(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Takes messages as streams, of which it reads one: so it is called before the message has come."""

    def __init__(self, app: ASGIApp, incoming: Incoming) -> None:
        self._app, self._incoming = app, incoming

    def service(self, details: Any) -> Any:
        """The handler of a method; None for a method that there is not."""
        rpc = RPCS.get(details.method)
        return grpc.stream_unary_rpc_method_handler(partial(self._answer, rpc)) if rpc is not None else None

    async def _answer(self, rpc: Rpc, messages: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            answer, said = await self._run(rpc, messages, context)
        except ClipServeError as error:
            await context.abort(_CODES.get(error.status, grpc.StatusCode.INTERNAL), error.message)
        except Exception:
            _log.exception("unforeseen failure")
            await context.abort(grpc.StatusCode.INTERNAL, "the gateway failed on this call; its log has the details")
        context.set_trailing_metadata([(name, answer.headers[name]) for name in _GIVEN_BACK if name in answer.headers])
        if said is None:
            words = orjson.loads(answer.content)["error"]
            await context.abort(_CODES.get(answer.status, grpc.StatusCode.INTERNAL), words)
        return said or b""  # never after `abort`, which raises

    async def _run(self, rpc: Rpc, messages: AsyncIterator[bytes], context: Any) -> tuple[HttpAnswer, bytes | None]:
        """The answer of /v2, and the message made of it; None of an error. Raises ClipServeError."""
        headers, client = _headers(context), client_of(context.peer())
        content = b"" if rpc.empty else await self._incoming.message(messages, headers, client)
        asked = read_message(rpc.request, content)
        call = rpc.call(asked)
        answer = await answer_of(self._app, replace(call, headers=[*call.headers, *headers.raw]), client)
        if answer.status >= 400 and not (rpc.unready and answer.status == 503):
            return answer, None
        return answer, rpc.answer(answer, asked).SerializeToString()


def _headers(context: Any) -> Headers:
    """Those of the caller's metadata that mean something over HTTP, and the call's deadline."""
    given = [(name, value) for name, value in context.invocation_metadata() or () if name in _PASSED_ON]
    left = context.time_remaining()
    if left is not None and left < _LONGEST_S:
        given.append((DEADLINE.lower(), f"{max(left, 0.001):.3f}"))
    return Headers(raw=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in given])


def client_of(peer: str) -> Address | None:
    """`ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000` as ASGI writes it."""
    kind, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if kind in ("ipv4", "ipv6") and port.isdigit() else None
