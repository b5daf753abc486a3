"""The gRPC port: grpcio's server on the gateway's event loop, with the limits of the HTTP port."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import grpc
from starlette.types import ASGIApp

from gateway.keys.key_lookup import KeyLookup
from gateway.kserve.rpc.incoming import Incoming
from gateway.kserve.rpc.service import InferenceService
from gateway.settings import GatewaySettings

_STREAMS = 128  # calls at a time on a connection
_WINDOW_BYTES = 64 * 1024  # of a call's message, before it is read
_log = logging.getLogger("gateway.kserve.rpc.server")


class RpcServer:
    """Started and stopped with the app. `drain` may be called from a signal handler."""

    def __init__(self, app: ASGIApp, keys: KeyLookup, settings: GatewaySettings) -> None:
        self._service = InferenceService(app, Incoming(keys, settings.body_timeout_s))
        self._settings = settings
        self._server: grpc.aio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        settings, self._loop = self._settings, asyncio.get_running_loop()
        self._server = server = grpc.aio.server(
            handlers=[self._service],
            options=_options(settings),
            maximum_concurrent_rpcs=settings.max_client_connections,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.grpc_port}"
        try:
            credentials = _credentials(settings)
            if credentials is None:
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address} for gRPC") from error
        await server.start()
        _log.info("gRPC", extra={"address": address})

    def drain(self) -> None:
        """No new calls; those under way are answered, for as long as the HTTP port waits for its own."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._begin_stop)

    async def stop(self) -> None:
        """Drain, and wait for the end."""
        await self._begin_stop()

    def _begin_stop(self) -> asyncio.Task[None]:
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(self._settings.stop_timeout_s)


def _options(settings: GatewaySettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # else a second gateway would share the port unseen
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.max_allowed_incoming_connections", settings.max_client_connections),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
        ("grpc.http2.bdp_probe", 0),  # it would widen the window
    ]


def _credentials(settings: GatewaySettings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return grpc.ssl_server_credentials([(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())])
