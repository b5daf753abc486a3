"""`python -m gateway`: the gateway with settings from the environment."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError

from clip_core.draining import draining_protocol, draining_server
from clip_core.heap import MB, frugal, keep_small
from clip_core.logs import configure_logging, switch_level_by_signal
from clip_core.setting_checks import faults, take_no_options
from clip_core.tracing.configure import traced_process
from gateway.app import build
from gateway.assistant.provider.prices import PricesError
from gateway.connections.protocol import guarded
from gateway.inputs.sniffing import ignore_warnings
from gateway.models.rows import RowsError
from gateway.pictures.bucket import NoFileSystem
from gateway.settings import PREFIX, GatewaySettings, environment_name

_MAPPED_FROM = MB  # bodies and answers above that are given back as soon as they are done with
_LINGER_S = 0.5  # idle connections in a stop

_log = logging.getLogger("gateway")


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Exits with 1 and one line on stderr when it cannot start."""
    frugal(_MAPPED_FROM)
    os.umask(0o077)
    settings = _settings()
    configure_logging("gateway", json_lines=settings.log_json, level=settings.log_level)
    switch_level_by_signal(settings.log_level)
    for line in settings.unknown_names():
        _log.warning(line)
    ignore_warnings()
    _allow_files(2 * settings.max_client_connections + 1024)
    listening = _listen(settings.host, settings.port)
    if settings.grpc_port:
        _listen(settings.host, settings.grpc_port, "GRPC_PORT").close()  # grpcio listens later, and says less
    _make(settings.data_dir, "data_dir")
    if settings.pictures_dir is not None:
        _make(settings.pictures_dir, "pictures_dir")
    app = _app(settings)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=draining_protocol(guarded(settings.read_timeout_s, settings.max_client_connections), _LINGER_S),
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.stop_timeout_s,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    for received in (signal.SIGTERM, signal.SIGINT):
        signal.signal(received, _leave)  # uvicorn raises it again once it has stopped cleanly
    keep_small()
    with traced_process("clipserve-gateway"):
        draining_server(uvicorn.Server, partial(_drain, app))(config).run(sockets=[listening])


def _app(settings: GatewaySettings) -> FastAPI:
    try:
        return build(settings)
    except RowsError as error:
        _fail(f"{environment_name('models_file')}: {error}")
    except NoFileSystem as error:
        _fail(f"{environment_name('pictures_url')}: {error}")
    except PricesError as error:
        _fail(f"{environment_name('llm_prices_file')}: {error}")


def _settings() -> GatewaySettings:
    try:
        return GatewaySettings()
    except ValidationError as error:
        _fail(faults(error, environment_name))
    except SettingsError as error:  # a file of a setting that may not be read
        _fail(f"{error}: {error.__cause__}")


def _allow_files(number: int) -> None:
    """Each connection is an open file, and a shell allows 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _make(folder: Path, setting: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _fail(f"{environment_name(setting)}: {folder} can't be written ({error.strerror}); choose another folder")


def _listen(host: str, port: int, setting: str = "PORT") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no DNS can hold
        _fail(
            f"cannot listen on {host}:{port} ({getattr(error, 'strerror', None) or error}); "
            f"stop what uses it, or set CLIPSERVE_GATEWAY_HOST and CLIPSERVE_GATEWAY_{setting}"
        )


def _drain(app: FastAPI) -> None:
    app.state.services.readiness.drop()
    if app.state.rpc is not None:
        app.state.rpc.drain()


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    print(f"gateway: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    take_no_options("gateway", PREFIX)
    main()
