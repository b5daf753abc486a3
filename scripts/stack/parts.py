"""The three parts of a stack, with what each is told: index service, TorchServe, gateway."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsError

from clip_core.serving.torchserve_tokens import KEY_FILE
from clip_core.setting_checks import faults
from gateway.database.postgres import Postgres
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.key_store import KeyStore, SharedKeys
from gateway.settings import GatewaySettings, environment_name
from scaler.settings import ScalerSettings
from scaler.settings import environment_name as scaler_environment_name
from scripts.archive.places import MODEL_STORE
from scripts.processes import launching
from scripts.processes.preflight import StackStartError, find_java
from scripts.processes.rotated_log import RotatedLog
from scripts.processes.stack import Stack
from scripts.processes.stack_process import Program
from scripts.stack import torchserve
from scripts.stack.data_folder import DataFolder
from scripts.stack.endpoint_overrides import OverriddenArchives
from scripts.stack.up_models import Batching, row_store
from scripts.stack.up_settings import UpSettings

_OTHERS_S = 5.0  # of the patience with a stop, for what stops after the gateway


@dataclass(frozen=True)
class Parts:
    """`key`: for our own calls, where the gateway asks for one; `management`: TorchServe's address behind a guard.

    `batching`: settings of endpoints, over those in their archives.
    """

    settings: UpSettings
    folder: DataFolder
    key: str | None
    management: str | None
    batching: Batching = field(default_factory=Batching)

    def start(self, stack: Stack) -> None:
        """In the order in which they need one another."""
        self._start_index(stack)
        self._start_torchserve(stack)
        gateway = _prefixed("GATEWAY", self._common() | self._gateway())
        stack.add("gateway", Program(launching.module("gateway"), gateway), self.log("gateway"))
        if self.settings.autoscale:
            self._start_scaler(stack)

    def log(self, name: str) -> RotatedLog:
        return part_log(self.settings, name)

    def _start_index(self, stack: Stack) -> None:
        values = {"PORT": str(self.settings.index_port), "DATA_DIR": str(self.folder.path / "index")}
        environment = _prefixed("INDEX", self._common() | values)
        stack.add("index service", Program(launching.module("index_service"), environment), self.log("index"))

    def _start_torchserve(self, stack: Stack) -> None:
        run = self.folder.run
        command = launching.program(torchserve.command(find_java(), self._properties(), self.settings, run))
        environment = torchserve.environment(self.settings, run, self.settings.log_dir.resolve())
        unpacked = run / "models"  # a killed JVM leaves them there
        program = Program(command, environment, cwd=run, clears=unpacked, prepare=self._prepare_torchserve)
        stack.add("TorchServe", program, self.log("torchserve"))

    def _start_scaler(self, stack: Stack) -> None:
        environment = _prefixed("SCALER", self._common() | self._scaler())
        stack.add("scaler", Program(launching.module("scaler"), environment), self.log("scaler"))

    def _scaler(self) -> dict[str, str]:
        settings, local = self.settings, "http://127.0.0.1:"
        host = local if settings.host in ("0.0.0.0", "::") else f"http://{settings.host}:"
        endpoints = [name for row in row_store(self.folder.path).read() for name in row.endpoints.all()]
        return {
            "HOST": "127.0.0.1",
            "PORT": str(settings.scaler_port),
            "GATEWAY_URLS": f"{host}{settings.gateway_port}",
            "GATEWAY_KEY": self.key or "",
            "MANAGEMENT_URL": self.management or f"{local}{settings.management_port}",
            **self._tokens(),
            "ACTUATOR": "torchserve",
            "ENDPOINTS": ",".join(dict.fromkeys(endpoints)),
            "DISCOVER": "true",  # of models that are added later
            "DATA_DIR": str(self.folder.path / "scaler"),
        }

    def _prepare_torchserve(self) -> None:
        """Again at each start: models come and go while TorchServe runs, and tokens of the last start are no more."""
        (self.folder.run / KEY_FILE).unlink(missing_ok=True)
        self._archives().write()
        self._properties()

    def _properties(self) -> Path:
        store = model_store(self.settings)
        return torchserve.properties(self.settings, store, self.folder.run, self._archives().sources(), self.management)

    def _archives(self) -> OverriddenArchives:
        keys, store = self.batching.by_endpoint(row_store(self.folder.path).read()), model_store(self.settings)
        return OverriddenArchives({name: store / f"{name}.mar" for name in keys}, keys, self.folder.run / "overridden")

    def _common(self) -> dict[str, str]:
        return {"LOG_JSON": str(self.settings.log_json).lower(), "LOG_LEVEL": self.settings.log_level}

    def _gateway(self) -> dict[str, str]:
        settings, local, data = self.settings, "http://127.0.0.1:", self.folder.path
        own = {} if self.key is None or gateway_settings().keys else {"API_KEYS": self.key}
        scaled = self._scaled() if settings.autoscale else {}
        told = {
            "HOST": settings.host,
            "PORT": str(settings.gateway_port),
            "GRPC_PORT": str(settings.grpc_port),
            "TORCHSERVE_URL": f"{local}{settings.inference_port}",
            "MANAGEMENT_URL": f"{local}{settings.management_port}",
            "METRICS_URL": f"{local}{settings.metrics_port}",
            **self._tokens(),
            "INDEX_URL": f"{local}{settings.index_port}",
            "MODELS_FILE": str(row_store(data).path),
            **({} if gateway_settings().database_url.get_secret_value() else {"KEYS_FILE": str(keys_file(settings))}),
            "DATA_DIR": str(data / "gateway"),
            "IMAGE_ROOTS": image_roots(data / "demo" / "gallery"),
            "STOP_TIMEOUT_S": str(max(1, round(settings.stop_timeout - _OTHERS_S))),
        }
        return own | scaled | told

    def _tokens(self) -> dict[str, str]:
        key_file = self.folder.run / KEY_FILE
        return {"TORCHSERVE_KEY_FILE": str(key_file)} if self.settings.token_authorization else {}

    def _scaled(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.settings.scaler_port}"
        return {**for_workers(scaler_settings().max_replicas), "SCALER_URLS": url}


def part_log(settings: UpSettings, name: str) -> RotatedLog:
    """The log of this name; it goes on where the last run ended."""
    return RotatedLog(settings.log_dir.resolve() / f"{name}.log", settings.log_max_bytes, settings.log_files)


def model_store(settings: UpSettings) -> Path:
    return (settings.model_store or MODEL_STORE).resolve()


def gateway_settings() -> GatewaySettings:
    """What the environment says of the gateway; the host is given by `up` itself. Raises StackStartError."""
    try:
        return GatewaySettings(host="127.0.0.1")
    except ValidationError as error:
        raise StackStartError(faults(error, environment_name)) from error
    except SettingsError as error:  # a file of a setting that may not be read
        raise StackStartError(f"{error}: {error.__cause__}") from error


def scaler_settings() -> ScalerSettings:
    """What the environment says of the scaler. Raises StackStartError."""
    try:
        return ScalerSettings()
    except ValidationError as error:
        raise StackStartError(faults(error, scaler_environment_name)) from error
    except SettingsError as error:
        raise StackStartError(f"{error}: {error.__cause__}") from error


def for_workers(most: int) -> dict[str, str]:
    """What a gateway must know whose endpoints have up to `most` workers; the environment wins."""
    given = gateway_settings().model_fields_set
    told = {"autoscaled": "workers", "coalesce_min_in_flight": str(2 * most)}
    return {name.upper(): value for name, value in told.items() if name not in given}


def keys_file(settings: UpSettings) -> Path:
    return (gateway_settings().keys_file or settings.data_dir / "keys.db").resolve()


def own_key(settings: UpSettings) -> str | None:
    """A key for our own calls: one of the environment's, or, where the file alone asks for keys, one for this run."""
    given = gateway_settings().keys
    if given:
        return given[0]
    return secrets.token_urlsafe(32) if _keys_are_asked_for(settings) else None


def _keys_are_asked_for(settings: UpSettings) -> bool:
    """By those that were made, in the file or in the database that gateways share."""
    url = gateway_settings().database_url.get_secret_value()
    if not url:
        return bool(KeyLookup((), KeyStore(keys_file(settings))))
    with closing(Postgres(url)) as database:
        return bool(KeyLookup((), SharedKeys(database)))


def image_roots(gallery: Path) -> str:
    """The demo's pictures, and the folders that the environment names."""
    roots = {"demo": gallery} | gateway_settings().image_roots
    return ",".join(f"{name}={path.absolute()}" for name, path in roots.items())


def _prefixed(part: str, values: dict[str, str]) -> dict[str, str]:
    return {f"CLIPSERVE_{part}_{key}": value for key, value in values.items()}
