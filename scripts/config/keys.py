"""Every key of the configuration file, made from the settings of the parts: a new setting is a new key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from clip_core.settings import PREFIX, HandlerSettings
from gateway.settings import GatewaySettings
from index_service.settings import IndexSettings
from scaler.settings import ScalerSettings
from scripts.stack.up_settings import UpSettings

SECTIONS = {
    "optimisation": "How the models compute.",
    "gateway": "The gateway: limits, keys, pictures, jobs.",
    "index": "The index service.",
    "handlers": "The workers of TorchServe.",
    "scaler": "What sets the workers by their demand, with up.autoscale.",
    "up": "The stack: addresses, folders, restarts.",
    "logging": "Logs of all parts.",
}
SECRETS = {
    "gateway": ("api_keys", "redis_url", "database_url", "llm_api_key"),
    "index": ("milvus_token",),
    "handlers": ("admin_token", "cache_redis_url"),
    "scaler": (),
}
PARTS: Mapping[str, type[BaseSettings]] = {
    "gateway": GatewaySettings,
    "index": IndexSettings,
    "scaler": ScalerSettings,
    "up": UpSettings,
}
"""Those whose settings are pydantic's; the handlers' are a dataclass."""
PREFIXES = {part: settings.model_config["env_prefix"] for part, settings in PARTS.items()} | {"handlers": PREFIX}
_LOGS = {name: name.removeprefix("log_") for name in UpSettings.model_fields if name.startswith("log_")}
_OPTIMISATION = ("precision", "compile")
_OF_WORKERS = ("cache", "cuda_graphs")
_PATH: Any = Path | None
_MODELS = ("model", "checkpoint", "architecture", "tokenizer", "model_name")
_ELSEWHERE = {
    ("gateway", "host"): "up.host",
    ("gateway", "port"): "up.gateway_port",
    ("gateway", "grpc_port"): "up.grpc_port",
    ("gateway", "data_dir"): "up.data_dir",
    ("gateway", "stop_timeout_s"): "up.stop_timeout",
    ("index", "port"): "up.index_port",
    ("index", "data_dir"): "up.data_dir",
    ("index", "stop_timeout_s"): "up.stop_timeout",
    ("scaler", "port"): "up.scaler_port",
    ("scaler", "data_dir"): "up.data_dir",
    ("handlers", "cache"): "optimisation.cache",
    ("handlers", "cuda_graphs"): "optimisation.cuda_graphs",
    **{("up", name): "models" for name in _MODELS},
    ("up", "precision"): "optimisation.precision",
    ("up", "compile"): "optimisation.compile",
}
_OWN = {  # addresses between the parts, which `up` knows
    "gateway": (
        *("torchserve_url", "management_url", "metrics_url", "torchserve_key_file", "index_url", "scaler_urls"),
        "models_file",
    ),
    "index": ("host",),
    "handlers": ("index_url",),
    "scaler": (
        *("host", "gateway_urls", "gateway_key", "endpoints", "discover", "actuator", "management_url"),
        "torchserve_key_file",
    ),
}


@dataclass(frozen=True)
class Key:
    """`section.name` of the file, what it takes, and the setting that it is: of which part, and its name there.

    `secret`: the file gives the path of a file that holds the value.
    """

    section: str
    name: str
    field: FieldInfo
    part: str
    setting: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that carries it."""
        return f"{PREFIXES[self.part]}{self.setting.upper()}"

    def __str__(self) -> str:
        return f"{self.section}.{self.name}"


@cache
def keys() -> dict[tuple[str, str], Key]:
    """By section and name, in the order of SECTIONS."""
    made = [*_optimisation(), *_service("gateway"), *_service("index"), *_handlers(), *_service("scaler"), *_up()]
    return {(key.section, key.name): key for key in made}


def advice(section: str, name: str) -> str | None:
    """What to say of a setting that exists and is no key of the file."""
    if name in SECRETS.get(section, ()):
        return f"is a secret: write {section}.{name}_file, the path of a file that holds it"
    if name in _OWN.get(section, ()):
        return "is set by `clipserve up` itself: leave it out"
    elsewhere = f"logging.{_LOGS[name]}" if name in _LOGS else _ELSEWHERE.get((section, name))
    return f"is no key: write {elsewhere}" if elsewhere else None


def _optimisation() -> Iterator[Key]:
    for name in _OPTIMISATION:
        yield _of_up("optimisation", name, name)
    for each in dataclasses.fields(HandlerSettings):
        if each.name in _OF_WORKERS:
            yield Key("optimisation", each.name, _described(each), "handlers", each.name)


def _service(section: str) -> Iterator[Key]:
    for name, field in PARTS[section].model_fields.items():
        yield from _named(section, name, field)


def _handlers() -> Iterator[Key]:
    for each in dataclasses.fields(HandlerSettings):
        yield from _named("handlers", each.name, _described(each))


def _named(section: str, name: str, field: FieldInfo) -> Iterator[Key]:
    if name in SECRETS[section]:
        path = FieldInfo(annotation=_PATH, default=None, description=f"Path of a file that holds: {field.description}")
        yield Key(section, f"{name}_file", path, section, name, secret=True)
    elif advice(section, name) is None:
        yield Key(section, name, field, section, name)


def _described(each: dataclasses.Field[Any]) -> FieldInfo:
    return FieldInfo(annotation=type(each.default), default=each.default, description=each.metadata["description"])


def _up() -> Iterator[Key]:
    for name in UpSettings.model_fields:
        if name in _LOGS:
            yield _of_up("logging", _LOGS[name], name)
        elif name not in ("config", *_MODELS, *_OPTIMISATION):
            yield _of_up("up", name, name)


def _of_up(section: str, name: str, setting: str) -> Key:
    return Key(section, name, UpSettings.model_fields[setting], "up", setting)
