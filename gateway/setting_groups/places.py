"""Where the gateway listens, and what it calls."""

from __future__ import annotations

from pydantic import Field

from clip_core.secret_files import SettingsOrFiles
from gateway.setting_groups.types import File, Hosts, Url, Urls

_ENDPOINT = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"


class PlaceSettings(SettingsOrFiles):
    """Addresses, names of endpoints, and the file of models."""

    host: str = Field("127.0.0.1", description="Address to listen on; any but loopback needs keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    grpc_port: int = Field(0, ge=0, le=65535, description="Port for KServe v2 over gRPC; 0: none; `up`: 8001.")
    allowed_hosts: Hosts = Field(
        (), description="Names that a gateway without keys answers to besides loopback: `search.lan,*.home`; `*`: any."
    )
    torchserve_url: Url = Field("http://127.0.0.1:8080", description="TorchServe's inference API.")
    management_url: Url = Field("http://127.0.0.1:8081", description="TorchServe's management API.")
    metrics_url: Url = Field("http://127.0.0.1:8082", description="TorchServe's metrics, for the page's live panel.")
    torchserve_key_file: File = Field(
        None, description="`key_file.json` of a TorchServe that asks for tokens, which it writes at its start."
    )
    index_url: Url = Field("http://127.0.0.1:8090", description="The index service.")
    scaler_urls: Urls = Field(
        (), description="Scalers whose decisions the dashboard shows: `http://a:8002`; `up --autoscale` names its own."
    )
    text_endpoint: str = Field("clip_text", pattern=_ENDPOINT, description="TorchServe model that encodes text.")
    image_endpoint: str = Field("clip_image", pattern=_ENDPOINT, description="TorchServe model that encodes images.")
    multimodal_endpoint: str = Field(
        "clip_multimodal", pattern=_ENDPOINT, description="TorchServe model that mixes both."
    )
    caption_endpoint: str | None = Field(
        None,
        pattern=f"{_ENDPOINT}|^$",
        description="TorchServe model that writes captions; left out: named as text_endpoint; empty: none.",
    )
    models_file: File = Field(
        None, description="File of the models that are served, read again when it changes; `up`: data/models.json."
    )
