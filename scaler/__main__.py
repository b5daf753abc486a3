"""`python -m scaler`: settings → watch and actuator → server."""

from __future__ import annotations

import logging
import socket
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from clip_core.logs import configure_logging
from clip_core.setting_checks import faults, take_no_options
from scaler.actuators.actuator import Actuator, NoActuator, WorkerActuator
from scaler.actuators.torchserve import TorchServeWorkers
from scaler.app import create_app
from scaler.scaler import Scaler
from scaler.settings import PREFIX, ScalerSettings, environment_name
from scaler.watch.demand import DemandWatch
from scaler.watch.gateway import GatewayWatch
from scaler.watch.gateways import Gateways

_log = logging.getLogger("scaler")


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Exits with 1 and one line on stderr when it cannot start."""
    settings = _settings()
    configure_logging("scaler", json_lines=settings.log_json, level=settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells every look
    for line in settings.unknown_names():
        _log.warning(line)
    _say_where_the_past_is_lost(settings.data_dir)
    listening = _listen(settings.host, settings.port)
    app = create_app(build(settings))
    config = uvicorn.Config(app, access_log=False, log_config=None, server_header=False, ws="none")
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no DNS can hold
        reason = getattr(error, "strerror", None) or error
        _fail(
            f"cannot listen on {host}:{port} ({reason}); "
            f"stop what uses it, or set {environment_name('host')} and {environment_name('port')}"
        )


def build(settings: ScalerSettings) -> Scaler:
    """With its clients, which it closes when it stops."""
    key = settings.gateway_key.get_secret_value().partition(",")[0].strip()
    watch = DemandWatch(Gateways(settings.gateway_urls, lambda url: GatewayWatch(url, key)))
    return Scaler(settings, watch, _actuator(settings))


def _actuator(settings: ScalerSettings) -> Actuator:
    if settings.actuator == "none":
        return NoActuator(settings.start_s)
    workers = TorchServeWorkers(settings.management_url, key_file=settings.torchserve_key_file)
    return WorkerActuator(workers, settings.start_s)


def _say_where_the_past_is_lost(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _log.warning("nothing can be written to %s (%s): a restart will begin without a past", folder, error)


def _settings() -> ScalerSettings:
    try:
        return ScalerSettings()
    except ValidationError as error:
        _fail(faults(error, environment_name))
    except SettingsError as error:  # a file of a setting that may not be read
        _fail(f"{error}: {error.__cause__}")


def _fail(message: str) -> NoReturn:
    print(f"scaler: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    take_no_options("scaler", PREFIX)
    main()
