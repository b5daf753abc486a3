"""`python -m index_service`: settings → record → app → uvicorn. A failed start is one line on stderr, exit code 1."""

from __future__ import annotations

import index_service.idle_threads  # noqa: F401  # isort: skip

import logging
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from clip_core.draining import draining_protocol, draining_server
from clip_core.errors import ClipServeError
from clip_core.heap import frugal
from clip_core.logs import configure_logging, switch_level_by_signal
from clip_core.setting_checks import faults, take_no_options
from clip_core.tracing.configure import traced_process
from index_service.collection.registry import Registry
from index_service.errors import IndexStartError
from index_service.http.app import create_app
from index_service.http.protocol import PlainProtocol
from index_service.milvus.catalogue.connect import shared_store
from index_service.record.data_dir import DataDir
from index_service.record.reserve import Reserve
from index_service.record.store import Store
from index_service.settings import MB, PREFIX, IndexSettings, environment_name
from index_service.snapshots.waiting import restore_waiting

_log = logging.getLogger("index_service")
_LINGER_S = 0.2  # idle connections in a stop: callers are on this machine or next to it
_KEEP_ALIVE_S = 75  # callers keep their connections between searches


def main() -> int:
    """The exit code."""
    signal.signal(signal.SIGTERM, _stop)  # uvicorn puts its own over this one and gives the signal back at the end
    signal.signal(signal.SIGINT, _stop)
    frugal()
    os.umask(0o077)
    try:
        _serve(_settings())
    except IndexStartError as error:
        print(f"index_service: {error}", file=sys.stderr)
        return 1
    return 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _settings() -> IndexSettings:
    try:
        return IndexSettings()
    except ValidationError as error:
        raise IndexStartError(faults(error, environment_name)) from error
    except SettingsError as error:  # a file of a setting that may not be read
        raise IndexStartError(f"{error}: {error.__cause__}") from error


def _record(folder: DataDir, settings: IndexSettings) -> Store:
    """On a full disk the reserve is given up, where opening the record takes room."""
    reserve = Reserve(folder.path / "reserve", settings.disk_reserve_mb * MB)
    try:
        store = Store(folder.database, reserve)
    except IndexStartError:
        if not reserve.release():
            raise
        store = Store(folder.database, reserve)
    if not reserve.make():
        _log.warning("no room for the reserve: writes are refused", extra={"bytes": reserve.bytes})
    return store


def _restore(folder: DataDir, store: Store) -> None:
    try:
        restore_waiting(folder.restore, store)
    except (ClipServeError, OSError) as error:
        raise IndexStartError(f"the snapshots in {folder.restore} can't be restored: {error}") from error


def _serve(settings: IndexSettings) -> None:
    configure_logging("index_service", json_lines=settings.log_json, level=settings.log_level)
    switch_level_by_signal(settings.log_level)
    for line in settings.unknown_names():
        _log.warning(line)
    with (
        _listen(settings.host, settings.port) as listener,
        DataDir(settings.data_dir) as folder,
        traced_process("clipserve-index"),
    ):
        store = _record(folder, settings)
        _restore(folder, store)
        app = create_app(settings, Registry(store, settings, shared_store(settings)))
        host, port = listener.getsockname()[:2]
        _log.info("starting", extra={"host": host, "port": port, "data_dir": str(settings.data_dir)})
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=draining_protocol(PlainProtocol, _LINGER_S),
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.stop_timeout_s,
        )
        draining_server(uvicorn.Server, lambda: setattr(app.state, "draining", True))(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; made here since uvicorn would only log that it can't. Raises IndexStartError."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no DNS can hold
        advice = "stop what listens there, or set CLIPSERVE_INDEX_HOST and CLIPSERVE_INDEX_PORT"
        reason = getattr(error, "strerror", None) or error
        raise IndexStartError(f"can't listen on {host}:{port} ({reason}): {advice}") from error
    return listener


if __name__ == "__main__":
    take_no_options("index_service", PREFIX)
    sys.exit(main())
