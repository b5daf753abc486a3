"""Calls of a Milvus server, each with a deadline: its gRPC messages without the retries of its Python client.

That client tries a call again for minutes, and keeps a copy of every schema. Its messages are all that is used of it.
"""

from __future__ import annotations

import base64
import importlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from clip_core.errors import ClipServeError, StorageFull, TooLarge, Unavailable, UnknownCollection
from clip_core.periodic import doubled
from index_service.engines.approximate.peer_breaker import PeerBreaker, PeerDown

_log = logging.getLogger("index_service.milvus")
_LONGEST_PAUSE_S = 4.0
_MESSAGE_BYTES = 512 << 20
_NO_COLLECTION, _NOT_LOADED = {4, 100}, {101}  # codes of Milvus 2.3 and later
_NO_ROOM, _DENIED = {3, 7}, 9  # of memory, of disk; what it takes no more, for lack of room or for another reason:
_OTHERWISE_DENIED = ("delay", "administrator")
_TOO_MUCH = ("maxOutputSize", "ResourceExhausted", "message larger than max")  # what its parts say to one another
_OPTIONS = (
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
)


class NotLoaded(Unavailable):
    """The collection is there, and its rows aren't in Milvus' memory."""


class MilvusRefusal(Unavailable):
    """Milvus answered that it won't; `number` is its code."""

    number = 0

    @classmethod
    def of(cls, number: int, reason: str) -> MilvusRefusal:
        refusal = cls(f"Milvus refused the call: {reason[:300]} (its code {number})")
        refusal.number = number
        return refusal


class MilvusRpc:
    """A connection to the server at `uri`, made by the first call, for any number of threads.

    A `token` that the server takes no more is read again by `renewed`.
    """

    def __init__(
        self, uri: str, token: str = "", timeout_s: float = 10.0, renewed: Callable[[], str] | None = None
    ) -> None:
        parts = urlsplit(uri)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self._host, self._secure = f"{host}:{parts.port or 19530}", parts.scheme == "https"
        self._timeout_s, self._lock = timeout_s, threading.Lock()
        self._token, self._renewed, self._metadata = token, renewed, _authorization(token)
        self._breaker = PeerBreaker(patience_s=0.5, pause_s=0.5, longest_s=_LONGEST_PAUSE_S)
        self._answered_at, self._met_unloaded = -math.inf, False  # the former as `time.monotonic()`
        self._channel: Any = None
        self._stub: Any = None
        self._closed = False

    def call(self, method: str, request: Any, timeout_s: float | None = None) -> Any:
        """The answer. Raises Unavailable in bounded time, UnknownCollection, StorageFull, TooLarge."""
        return self._call(lambda: getattr(self._connected()[1], method), request, timeout_s)

    def write(self, method: str, request: bytes) -> Any:
        """The MutationResult of a request that is serialised already. Raises as `call`."""
        return self._call(lambda: self._mutation(method), request, None)

    def _mutation(self, method: str) -> Any:
        channel, _ = self._connected()
        read = messages().MutationResult.FromString
        return channel.unary_unary(f"/milvus.proto.milvus.MilvusService/{method}", response_deserializer=read)

    def _call(self, method: Callable[[], Any], request: Any, timeout_s: float | None) -> Any:
        try:
            with self._breaker.call():
                answer = self._answer(method, request, self._timeout_s if timeout_s is None else timeout_s)
        except PeerDown as error:
            raise Unavailable(f"Milvus at {self._host} does not answer: it is asked again in a moment") from error
        if isinstance(answer, ClipServeError):
            raise answer
        status = getattr(answer, "status", answer)
        if status.code or status.error_code:
            refused = _refused(status.code or status.error_code, status.reason)
            self._met_unloaded |= isinstance(refused, NotLoaded)
            raise refused
        return answer

    def met_unloaded(self) -> bool:
        """Whether a call since the last one of this met a collection that is not loaded."""
        met, self._met_unloaded = self._met_unloaded, False
        return met

    def _answer(self, method: Callable[[], Any], request: Any, most: float) -> Any:
        """The answer. An error is returned where others were answered meanwhile: only this one is too slow then."""
        grpc, began = _grpc(), time.monotonic()
        try:
            answer = self._asked(method, request, most)
        except grpc.RpcError as error:
            lost = self._lost(error, most)
            if self._answered_at < began:
                raise lost from error
            return lost
        self._answered_at = time.monotonic()
        return answer

    def _asked(self, method: Callable[[], Any], request: Any, most: float) -> Any:
        grpc = _grpc()
        try:
            return method()(request, timeout=most, metadata=self._metadata)
        except ValueError:  # the channel was closed before the call began
            if self._closed:
                raise _stopping() from None
            raise
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED or not self._renew():
                raise
        return method()(request, timeout=most, metadata=self._metadata)

    def _renew(self) -> bool:
        """Whether there is another token now."""
        token = self._token if self._renewed is None else self._renewed()
        if token == self._token:
            return False
        _log.info("the token of milvus was read again")
        self._token, self._metadata = token, _authorization(token)
        return True

    def alone(self, method: str, request: Any, timeout_s: float) -> Any:
        """A call that is made even while the server is known not to answer, as a look whether it is back."""
        self._breaker.forget()
        return self.call(method, request, timeout_s)

    def _connected(self) -> tuple[Any, Any]:
        """Channel and stub."""
        with self._lock:
            if self._closed:
                raise _stopping()
            if self._stub is None:
                grpc = _grpc()
                stubs = importlib.import_module("pymilvus.grpc_gen.milvus_pb2_grpc")
                if self._secure:
                    self._channel = grpc.secure_channel(self._host, grpc.ssl_channel_credentials(), _OPTIONS)
                else:
                    self._channel = grpc.insecure_channel(self._host, _OPTIONS)
                self._stub = stubs.MilvusServiceStub(self._channel)
            return self._channel, self._stub

    def _lost(self, error: Any, most: float) -> ClipServeError:
        code = error.code().name
        if code == "UNAUTHENTICATED":
            return Unavailable(f"Milvus at {self._host} does not take CLIPSERVE_INDEX_MILVUS_TOKEN")
        if code == "RESOURCE_EXHAUSTED":
            return TooLarge(f"Milvus does not take or give so much at once: {error.details()[:200]}")
        if code == "DEADLINE_EXCEEDED":
            return Unavailable(f"Milvus at {self._host} did not answer within {most:g} s")
        return Unavailable(f"Milvus at {self._host} can't be reached ({code})")

    def close(self) -> None:
        """Close the connection for good. Calls under way, and later ones, raise Unavailable."""
        with self._lock:
            self._closed = True
            if self._channel is not None:
                self._channel.close()
            self._channel = self._stub = None


def _stopping() -> Unavailable:
    return Unavailable("the index service is stopping")


def _refused(number: int, reason: str) -> ClipServeError:
    if number in _NO_COLLECTION and "not found" in reason.lower():
        return UnknownCollection("the collection was deleted meanwhile", param="collection")
    if number in _NOT_LOADED:
        return NotLoaded("Milvus has not loaded the collection: try again in a moment")
    if any(word in reason for word in _TOO_MUCH):
        return TooLarge("Milvus does not give so much at once: ask for less")
    if _is_full(number, reason.lower()):
        return StorageFull(f"Milvus takes no more: {reason[:200]}")
    return MilvusRefusal.of(number, reason)


def _is_full(number: int, reason: str) -> bool:
    if number == _DENIED:
        return not any(word in reason for word in _OTHERWISE_DENIED)
    return number in _NO_ROOM or "no space left" in reason


def _authorization(token: str) -> list[tuple[str, str]]:
    return [("authorization", base64.b64encode(token.encode()).decode())] if token else []


@cache
def _grpc() -> Any:
    return importlib.import_module("grpc")


@cache
def messages(name: str = "milvus") -> Any:
    """The module of Milvus' messages: `milvus`, `schema` or `common`."""
    return importlib.import_module(f"pymilvus.grpc_gen.{name}_pb2")


def wait_until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Ask every now and then. Raises Unavailable."""
    deadline = time.monotonic() + timeout_s
    for looks in itertools.count():
        if done():
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"Milvus did not {what} within {timeout_s:g} s")
        time.sleep(doubled(0.02, looks, 0.5))
