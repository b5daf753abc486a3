"""Every setting of `clipserve up`: field, environment variable and command-line option are one table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class UpSettings(BaseSettings):
    """Each field is `--field-name` of `clipserve up` and the environment variable `CLIPSERVE_FIELD_NAME`."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_", extra="ignore")

    model: str = Field("demo", description="model under archive/ to build and serve")
    checkpoint: Path | None = Field(None, description="local weights in the hub's layout, instead of the model's own")
    precision: str | None = Field(None, description="what the towers compute in, instead of the model's own choice")
    model_store: Path | None = Field(None, description="where the archives lie; model_store/ here unless given")
    host: str = Field("127.0.0.1", description="address of the gateway; others need keys (`clipserve keys create`)")
    gateway_port: int = Field(8000, description="the gateway's HTTP port")
    inference_port: int = Field(8080, description="TorchServe's inference port (loopback)")
    management_port: int = Field(8081, description="TorchServe's management port (loopback)")
    metrics_port: int = Field(8082, description="TorchServe's metrics port (loopback)")
    grpc_inference_port: int = Field(7070, description="TorchServe's gRPC inference port (loopback)")
    grpc_management_port: int = Field(7071, description="TorchServe's gRPC management port (loopback)")
    index_port: int = Field(8090, description="the index service's port (loopback)")
    data_dir: Path = Field(Path("data"), description="where the index, the demo gallery and run files lie")
    log_dir: Path = Field(Path("logs"), description="where each part's log lies")
    log_json: bool = Field(False, description="one JSON object a log line, in all three processes")
    log_level: str = Field("INFO", description="least level logged: DEBUG, INFO, WARNING, ERROR")
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
    stop_patience: float = Field(
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
    demo: bool = Field(True, description="fill the collection `demo` with rendered scenes and run one search")
