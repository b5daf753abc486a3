"""The gateway's settings, read once from the environment: `CLIPSERVE_GATEWAY_PORT=9000`, and so on."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MB = 1024 * 1024


class Settings(BaseSettings):
    """Every field is an environment variable; see each description for what it changes."""

    model_config = SettingsConfigDict(env_prefix="CLIPSERVE_GATEWAY_", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on; any but loopback needs api_keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    torchserve_url: str = Field("http://127.0.0.1:8080", description="TorchServe's inference API.")
    management_url: str = Field("http://127.0.0.1:8081", description="TorchServe's management API.")
    index_url: str = Field("http://127.0.0.1:8090", description="The index service.")
    text_endpoint: str = Field("clip_text", description="TorchServe model that encodes text.")
    image_endpoint: str = Field("clip_image", description="TorchServe model that encodes images.")
    multimodal_endpoint: str = Field("clip_multimodal", description="TorchServe model that mixes both.")
    api_keys: SecretStr = Field(SecretStr(""), description="Accepted API keys, comma separated; empty: none.")
    metrics_open: bool = Field(False, description="Serve /metrics without a key even when keys are set.")
    max_body_bytes: int = Field(32 * MB, gt=0, description="Largest request body; more is a 413.")
    max_stream_bytes: int = Field(4096 * MB, gt=0, description="Largest NDJSON stream; more is a 413.")
    max_image_bytes: int = Field(16 * MB, gt=0, description="Largest single image file; more is a 413.")
    max_inputs: int = Field(256, gt=0, description="Most inputs of one embedding or batch search call.")
    max_items: int = Field(1000, gt=0, description="Most items of one call that adds to a collection.")
    label_cache_size: int = Field(10_000, gt=0, description="Label vectors that `/v1/classify` keeps.")
    fan_out_texts: int = Field(32, gt=0, description="Texts sent in one TorchServe request.")
    fan_out_images: int = Field(8, gt=0, description="Images sent in one TorchServe request.")
    fan_out_bytes: int = Field(4 * MB, gt=0, description="Bytes of inputs sent in one TorchServe request.")
    fan_out_width: int = Field(8, gt=0, description="TorchServe requests that one call has under way.")
    share_above: int = Field(
        2, gt=0, description="Small TorchServe requests of a kind under way before the next ones share one."
    )
    max_connections: int = Field(256, gt=0, description="Open connections to each upstream.")
    timeout_s: float = Field(30.0, gt=0, description="How long one upstream answer may take.")
    ready_timeout_s: float = Field(2.0, gt=0, le=10, description="How long each readiness check may take.")
    image_roots: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description="Folders of pictures to show: `demo=data/demo/gallery,…`."
    )
    data_dir: Path = Field(Path("data/gateway"), description="Folder of the record of jobs; one gateway at a time.")
    ingest_roots: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description="Folders that jobs may read: `photos=/srv/photos,…`."
    )
    job_batch: int = Field(32, gt=0, le=256, description="Items that a job or an NDJSON stream adds at a time.")
    max_jobs: int = Field(1, gt=0, description="Jobs that run at a time; others wait.")
    fetch_urls: bool = Field(False, description="Fetch images named by http(s) URLs. Not available yet.")
    log_json: bool = Field(False, description="Log JSON lines instead of text.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    @field_validator("image_roots", "ingest_roots", mode="before")
    @classmethod
    def _parse_roots(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(sign and name.strip() and path.strip() for name, sign, path in pairs):
            raise ValueError("write it as `name=folder,name=folder`")
        return {name.strip(): Path(path.strip()) for name, _, path in pairs}

    @field_validator("torchserve_url", "management_url", "index_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("fetch_urls")
    @classmethod
    def _no_fetching_yet(cls, value: bool) -> bool:
        if value:
            raise ValueError("fetching images by URL is not available yet; leave it false")
        return value

    @model_validator(mode="after")
    def _closed_unless_local(self) -> Settings:
        if not self.keys and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reachable from other machines and there are no API keys: "
                "set CLIPSERVE_GATEWAY_API_KEYS, or listen on 127.0.0.1"
            )
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The accepted API keys."""
        return tuple(key.strip() for key in self.api_keys.get_secret_value().split(",") if key.strip())


def is_loopback(host: str) -> bool:
    """True for localhost and the loopback addresses; a name that must be resolved is not trusted."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
