"""Every setting of `clipserve up`: field, environment variable and command-line option are one table."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from clip_core.secret_files import SettingsByOldNames
from clip_core.setting_checks import one_line
from clip_core.setting_checks import unknown_names as names_unknown
from clip_core.settings import HandlerSettings
from gateway.settings import GatewaySettings
from index_service.settings import IndexSettings
from scaler.settings import ScalerSettings


def _words(value: object) -> object:
    """Names at commas, but no path that has one."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        return value
    return tuple(name for text in given for name in _names(text))


def _names(text: str) -> list[str]:
    return [text] if os.path.exists(text) else [part.strip() for part in text.split(",") if part.strip()]


_OBSERVERS = ("prometheus_port", "alertmanager_port")
_SCALER = ("scaler_port",)
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class UpSettings(SettingsByOldNames):
    """Each field is `--field-name` of `clipserve up` and the environment variable `CLIPSERVE_FIELD_NAME`."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", extra="ignore", hide_input_in_errors=True)

    config: Path | None = Field(
        None, description="YAML file of settings (clipserve.example.yaml); options and the environment win over it"
    )
    model: Words = Field(
        ("demo",),
        description="what to build and serve: a name under archive/, `ARCH/TAG`, `hf-hub:ORG/NAME`, a file, a folder; "
        "given again for each further one, and the first is the default",
    )
    checkpoint: Path | None = Field(None, description="a file or folder of weights, instead of the first model's own")
    architecture: str | None = Field(
        None, description="open_clip's architecture of the first model, or its JSON file, where the weights can't tell"
    )
    tokenizer: Path | None = Field(
        None, description="a folder with a Hugging Face tokenizer, where the first model's weights lack one"
    )
    model_name: str | None = Field(
        None, description="the first model's name in answers, instead of its own or the last part"
    )
    precision: str | None = Field(None, description="what the towers compute in, instead of the model's own choice")
    compile: bool | None = Field(None, description="compile the towers at the build, instead of the model's own choice")
    background_build: bool = Field(
        True,
        description="serve a model that is not built yet uncompiled, and build it meanwhile; else build it first",
    )
    model_store: Path | None = Field(None, description="where the archives lie; model_store/ here unless given")
    host: str = Field("127.0.0.1", description="address of the gateway; others need keys (`clipserve keys create`)")
    gateway_port: int = Field(8000, ge=1, le=65535, description="the gateway's HTTP port")
    grpc_port: int = Field(8001, ge=0, le=65535, description="the gateway's gRPC port, for KServe v2; 0: none")
    inference_port: int = Field(8080, ge=1, le=65535, description="TorchServe's inference port (loopback)")
    management_port: int = Field(8081, ge=1, le=65535, description="TorchServe's management port (loopback)")
    metrics_port: int = Field(8082, ge=1, le=65535, description="TorchServe's metrics port (loopback)")
    grpc_inference_port: int = Field(7070, ge=1, le=65535, description="TorchServe's gRPC inference port (loopback)")
    grpc_management_port: int = Field(7071, ge=1, le=65535, description="TorchServe's gRPC management port (loopback)")
    index_port: int = Field(8090, ge=1, le=65535, description="the index service's port (loopback)")
    scaler_port: int = Field(8002, ge=1, le=65535, description="the scaler's port (loopback), with --autoscale")
    autoscale: bool = Field(
        False,
        description="set the workers of each endpoint by its demand and a forecast of it (CLIPSERVE_SCALER_…, "
        "docs/scaling.md)",
    )
    data_dir: Path = Field(Path("data"), description="where the index, the demo gallery and run files lie")
    log_dir: Path = Field(Path("logs"), description="where each part's log lies")
    log_json: bool = Field(False, description="one JSON object a log line, in all parts")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level logged")
    startup_timeout: float = Field(
        120.0, gt=0, description="seconds to wait at the start for one more part to become ready"
    )
    java_options: str = Field("", description="options for TorchServe's JVM, after those in config.properties")
    restart_limit: int = Field(
        5, ge=0, description="restarts of a part in restart_window before `up` gives up, with status 1; 0: none"
    )
    restart_window: float = Field(300.0, gt=0, description="seconds in which restarts of a part are counted")
    restart_delay: float = Field(
        0.25, ge=0, description="seconds before the first restart; doubled for each further one, at most 30"
    )
    stop_timeout: float = Field(
        15.0, gt=0, description="seconds for a stop: requests are answered first; a second Ctrl-C or SIGTERM ends it"
    )
    log_max_bytes: int = Field(20_000_000, ge=1000, description="size at which a log file is put aside as FILE.1")
    log_files: int = Field(5, ge=0, description="older files kept of each log: FILE.1 to FILE.5")
    management: Literal["guarded", "read-only", "open"] = Field(
        "guarded",
        description="TorchServe's management API: closed to web pages, also closed to changes, or without a guard",
    )
    management_hosts: str = Field(
        "", description="names, besides loopback's, by which callers may address the management API: `a,b`"
    )
    token_authorization: bool = Field(
        False,
        description="TorchServe asks each request for a token; it writes them into data/run/key_file.json as it starts",
    )
    system_metrics: bool = Field(
        False,
        description="TorchServe tells once a minute how busy the machine is, and its GPUs where nvgpu is installed",
    )
    observe: bool = Field(False, description="start Prometheus and Alertmanager, too, where they are installed")
    prometheus_port: int = Field(9090, ge=1, le=65535, description="with observe: Prometheus's port (loopback)")
    alertmanager_port: int = Field(9093, ge=1, le=65535, description="with observe: Alertmanager's port (loopback)")
    alertmanager_config: Path | None = Field(
        None, description="with observe: whom Alertmanager tells; monitoring/alertmanager.yml unless given"
    )
    captions: bool = Field(
        True, description="build and serve the captioner of each model that has one; off: none, and its memory is free"
    )
    demo: bool = Field(True, description="fill the collection `demo` with rendered scenes and run one search")

    @field_validator("*")
    @classmethod
    def _is_bounded(cls, value: object) -> object:
        if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= 2**53):
            raise ValueError("must be a finite number, and not so large")
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str | Path):
                one_line(str(text))
        return value

    @field_validator("checkpoint")
    @classmethod
    def _is_there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.exists():
            raise ValueError(f"there is no folder or file {value}: name one with weights")
        return value

    @field_validator("alertmanager_config")
    @classmethod
    def _is_a_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(
                f"there is no file {value}: copy monitoring/alertmanager.yml, and name your receivers there"
            )
        return value

    @field_validator("java_options")
    @classmethod
    def _are_words(cls, value: str) -> str:
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{value!r} can't be split into options ({error}): close its quotes") from error
        if words and not words[0].startswith("-"):
            raise ValueError("takes options of java, such as -Xmx512m")
        return value

    @field_validator("management_hosts")
    @classmethod
    def _are_names(cls, value: str) -> str:
        for name in filter(None, map(str.strip, value.split(","))):
            if not re.fullmatch(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", name):
                raise ValueError(f"{name!r} is no host: write names without scheme, port and path, such as `a,b`")
        return value

    @property
    def given(self) -> dict[str, Any]:
        """What replaces the first model's own settings."""
        named = {"architecture": self.architecture, "tokenizer": self.tokenizer, "name": self.model_name}
        return {**self.given_to_all, **named}

    @property
    def given_to_all(self) -> dict[str, Any]:
        """What replaces every model's own settings."""
        return {"precision": self.precision, "compile": self.compile}

    @property
    def ports(self) -> dict[str, int]:
        """Setting → port, of all that is to start."""
        unused = (*(() if self.observe else _OBSERVERS), *(() if self.autoscale else _SCALER))
        names = [name for name in UpSettings.model_fields if name.endswith("_port") and name not in unused]
        return {name: getattr(self, name) for name in names}

    @model_validator(mode="after")
    def _has_a_port_each(self) -> UpSettings:
        (port, times) = Counter(self.ports.values()).most_common(1)[0]
        if times > 1:
            options = " and ".join(f"--{name.replace('_', '-')}" for name, given in self.ports.items() if given == port)
            raise ValueError(f"{options} are both {port}: give each part a port of its own")
        return self


def unknown_names(own: Iterable[str] = UpSettings.model_fields) -> list[str]:
    """A line on each CLIPSERVE_… variable of the environment that no part of the stack takes. `own`: the caller's."""
    parts = {
        "GATEWAY_": GatewaySettings.model_fields,
        "INDEX_": IndexSettings.model_fields,
        "SCALER_": ScalerSettings.model_fields,
    }
    handlers = [f"HANDLER_{field.name}" for field in dataclasses.fields(HandlerSettings)]
    services = [f"{part}{name}" for part, names in parts.items() for name in names]
    return names_unknown(os.environ, "CLIPSERVE_", ["url", "api_key", *own, *services, *handlers])
