"""The scaler's settings, read once from the environment: `CLIPSERVE_SCALER_TARGET_UTILIZATION=0.6`, and so on."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from clip_core.secret_files import SettingsOrFiles, strange_files, variable_as_given
from clip_core.setting_checks import bounded, comma_separated, header_value, http_url, unknown_names

PREFIX = "CLIPSERVE_SCALER_"
ALL = "dns+"  # before a URL: every address of its name
ENDPOINT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")  # it becomes a file's name
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]


class ScalerSettings(SettingsOrFiles):
    """Every field is an environment variable; see each description for what it changes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8002, ge=0, le=65535, description="Port of sizes, metrics and state.")
    gateway_urls: Words = Field(
        ("http://127.0.0.1:8000",),
        description="Gateways whose demand is added up: `http://a:8000,http://b:8000`; `dns+http://name:8000`: every "
        "address of a name, such as a headless Service's.",
    )
    gateway_key: SecretStr = Field(
        SecretStr(""), description="Key for the gateways' `/metrics`, of scope `admin`; of several at commas the first."
    )
    endpoints: Words = Field(
        ("clip_text", "clip_image", "clip_multimodal"), description="TorchServe endpoints that are scaled."
    )
    discover: bool = Field(
        False, description="Also scale endpoints that gateways name and `endpoints` does not, but for captioners."
    )
    actuator: Literal["none", "torchserve"] = Field(
        "none", description="`torchserve`: set workers through the management API; `none`: answer only, as KEDA asks."
    )
    management_url: str = Field(
        "http://127.0.0.1:8081", description="TorchServe's management API; `unix:PATH` is a socket."
    )
    torchserve_key_file: Path | None = Field(
        None, description="`key_file.json` of a TorchServe that asks for tokens, which it writes at its start."
    )
    min_replicas: int = Field(
        1, ge=0, le=10_000, description="Fewest workers or replicas of an endpoint; 0: none when idle."
    )
    max_replicas: int = Field(4, ge=1, le=10_000, description="Most workers or replicas of an endpoint.")
    target_utilization: float = Field(
        0.6, gt=0, le=1, description="Share of a worker's time that may be in use where there is no forecast."
    )
    max_utilization: float = Field(
        0.85, gt=0, le=1, description="The same beside a forecast: above it answers take longer than the SLO."
    )
    quantile: float = Field(0.95, ge=0.5, lt=1, description="Share of the forecasts that demand stays below.")
    items_per_replica: float = Field(
        1.0,
        ge=0.01,
        description="Items that a busy worker or replica has at once: the batch, where requests share one.",
    )
    start_s: float = Field(60.0, ge=0.1, le=1800, description="P90 of start to ready, until starts have been measured.")
    scale_to_zero_after_s: float = Field(
        600.0, ge=1, description="Seconds without demand after which an endpoint may go to 0."
    )
    stabilization_window_s: float = Field(
        300.0, ge=0, description="Seconds for which the largest size holds before it shrinks, as with Kubernetes' HPA."
    )
    poll_interval_s: float = Field(5.0, ge=0.1, le=60, description="Seconds between two readings of the demand.")
    series_step_s: float = Field(
        60.0, ge=0.1, le=60, description="Seconds of a minute of the past; fewer in benchmarks, which compress time."
    )
    data_dir: Path = Field(Path("data/scaler"), description="Folder in which the past is kept.")
    log_json: bool = Field(False, description="Log JSON lines instead of text.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    @field_validator("*")
    @classmethod
    def _is_bounded(cls, value: object) -> object:
        return bounded(value)

    @field_validator("endpoints")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not ENDPOINT_NAME.fullmatch(name):
                raise ValueError(f"{name[:100]!r} is no name of an endpoint")
        return value

    @field_validator("gateway_urls")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("names no gateway: whose demand is looked at?")
        return tuple(f"{ALL if url.startswith(ALL) else ''}{http_url(url.removeprefix(ALL))}" for url in value)

    @field_validator("management_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value.startswith("unix:"):
            if value == "unix:":
                raise ValueError("unix: needs the path of a socket")
            return value
        return http_url(value)

    @field_validator("gateway_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        header_value(value.get_secret_value().strip())
        return value

    @model_validator(mode="after")
    def _has_endpoints(self) -> ScalerSettings:
        if not self.endpoints and not self.discover:
            raise ValueError("endpoints names none, and discover is off: there is nothing to scale")
        return self

    @model_validator(mode="after")
    def _bounds_agree(self) -> ScalerSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) is more than max_replicas ({self.max_replicas})")
        if self.target_utilization > self.max_utilization:
            raise ValueError(
                f"target_utilization ({self.target_utilization}) is above max_utilization ({self.max_utilization}): "
                "workers would be less busy with a forecast than without one"
            )
        return self

    @staticmethod
    def unknown_names() -> list[str]:
        """A line on each variable or file that has an old name, or looks like a setting of the scaler, and is none."""
        return [
            *unknown_names(os.environ, PREFIX, ScalerSettings.model_fields),
            *strange_files(PREFIX, ScalerSettings.model_fields),
        ]


def environment_name(field: str) -> str:
    """Of the variable that gives it, as errors name it."""
    return variable_as_given(PREFIX, field, os.environ)
