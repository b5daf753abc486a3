"""The gateway's settings, read once from the environment: `CLIPSERVE_GATEWAY_PORT=9000`, and so on."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from clip_core.secret_files import SettingsOrFiles, old_files
from clip_core.setting_checks import bounded, comma_separated, header_value, host_names, http_url, unknown_names
from gateway.database.postgres import check_database_url
from gateway.fetch.addresses import AddressPolicy
from gateway.fetch.limits import FetchLimits
from gateway.inputs.urls import UrlPolicy
from gateway.keys.api_key import KeyLimits
from gateway.keys.quotas import check_redis_url
from gateway.middleware.client_timeouts import ClientTimeouts
from gateway.setting_checks import folders

MB = 1024 * 1024
PREFIX = "CLIPSERVE_GATEWAY_"
_ENDPOINT = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]
Numbers = Annotated[tuple[int, ...], NoDecode, BeforeValidator(comma_separated)]


class GatewaySettings(SettingsOrFiles):
    """Every field is an environment variable; see each description for what it changes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address to listen on; any but loopback needs keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    grpc_port: int = Field(0, ge=0, le=65535, description="Port for KServe v2 over gRPC; 0: none; `up`: 8001.")
    allowed_hosts: Words = Field(
        (), description="Names that a gateway without keys answers to besides loopback: `search.lan,*.home`; `*`: any."
    )
    torchserve_url: str = Field("http://127.0.0.1:8080", description="TorchServe's inference API.")
    management_url: str = Field("http://127.0.0.1:8081", description="TorchServe's management API.")
    metrics_url: str = Field("http://127.0.0.1:8082", description="TorchServe's metrics, for the page's live panel.")
    index_url: str = Field("http://127.0.0.1:8090", description="The index service.")
    scaler_urls: Words = Field(
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
    models_file: Path | None = Field(
        None, description="File of the models that are served, read again when it changes; `up`: data/models.json."
    )
    api_keys: SecretStr = Field(SecretStr(""), description="Accepted API keys, comma separated; empty: none.")
    keys_file: Path | None = Field(None, description="File of keys that `clipserve keys` writes; `up`: data/keys.db.")
    requests_per_minute: int | None = Field(None, gt=0, description="Requests a minute of a key; its own limit wins.")
    items_per_minute: int | None = Field(None, gt=0, description="Texts, images and vectors a minute of a key.")
    megapixels_per_minute: int | None = Field(None, gt=0, description="Megapixels of images a minute of a key.")
    key_concurrency: int | None = Field(None, gt=0, description="Requests that a key may have under way.")
    redis_url: SecretStr = Field(
        SecretStr(""), description="Redis in which replicas count limits; empty: each its own."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL in which gateways share keys, jobs and spending: `postgresql://…`; empty: own files.",
    )
    max_in_flight: int = Field(
        1024, gt=0, description="Most texts and images under way at each TorchServe endpoint; overload lowers it."
    )
    admission_timeout_s: float = Field(
        1.2, ge=0, description="How long a call may wait for admission when many come at once; 0: not at all."
    )
    autoscaled: Literal["no", "workers", "replicas"] = Field(
        "no",
        description="What a scaler changes: TorchServe's workers or whole TorchServes. At zero the gateway is ready, "
        "and requests wait (cold_start_timeout_s) or get 503 with Retry-After; those of a lost worker are sent again.",
    )
    cold_start_timeout_s: float = Field(
        30.0, ge=0, description="How long a request waits for an endpoint that was scaled to zero; 0: not at all."
    )
    max_buffered_bytes: int = Field(
        256 * MB,
        gt=0,
        description="Bytes of request bodies in memory at once; beyond it incomplete ones end with a 429.",
    )
    max_incomplete_bodies: int = Field(
        256, gt=0, description="Incomplete bodies of a key, or of an address without keys; the slowest beyond it end."
    )
    max_client_connections: int = Field(1024, gt=0, le=1_000_000, description="Most open connections of clients.")
    read_timeout_s: float = Field(
        10.0,
        gt=0,
        description="For a request's headers, between pieces of its body, and for the rest of a refused one.",
    )
    body_timeout_s: float = Field(30.0, gt=0, description="For a whole body, and one second more for each 16 KB of it.")
    stall_timeout_s: float = Field(120.0, gt=0, description="Ends a request in which nothing moves for so long.")
    stop_timeout_s: int = Field(
        10, gt=0, description="Seconds for requests in flight after SIGTERM; then they get 503 with Retry-After."
    )
    tls_certificate: Path | None = Field(None, description="PEM certificate chain, to speak TLS without a proxy.")
    tls_key: Path | None = Field(None, description="PEM private key of tls_certificate.")
    metrics_open: bool = Field(False, description="Serve /metrics without a key even when keys are set.")
    max_body_bytes: int = Field(32 * MB, gt=0, description="Largest request body; more is a 413.")
    max_stream_bytes: int = Field(4096 * MB, gt=0, description="Largest NDJSON stream; more is a 413.")
    max_image_bytes: int = Field(16 * MB, gt=0, description="Largest single image file; more is a 413.")
    max_inputs: int = Field(256, gt=0, description="Most inputs of one batch search or ranking call.")
    max_embedding_inputs: int = Field(2048, gt=0, description="Most inputs of one embeddings call, in any dialect.")
    max_items: int = Field(1000, gt=0, description="Most items of one call that adds, changes, copies or deletes them.")
    label_cache_size: int = Field(10_000, gt=0, description="Label vectors that `/v1/classify` keeps.")
    fan_out_texts: int = Field(32, gt=0, description="Texts sent in one TorchServe request.")
    fan_out_images: int = Field(8, gt=0, description="Images sent in one TorchServe request.")
    fan_out_bytes: int = Field(4 * MB, gt=0, description="Bytes of inputs sent in one TorchServe request.")
    fan_out_text_bytes: int = Field(
        MB // 4, gt=0, description="The same where all inputs are texts: a worker reads long ones before it cuts them."
    )
    fan_out_answer_bytes: int = Field(
        3 * MB // 2,
        gt=0,
        description="Bytes expected of the answer to one TorchServe request with searches.",
    )
    max_large_answers: int = Field(
        1,
        gt=0,
        le=1024,
        description="TorchServe requests with answers of that size under way at an endpoint: one for each worker.",
    )
    max_answer_bytes: int = Field(
        64 * MB, gt=0, description="Bytes of upstream answers that one call may take; searches beyond it get a 413."
    )
    fan_out_concurrency: int = Field(8, gt=0, description="TorchServe requests that one call has under way.")
    coalesce_min_in_flight: int = Field(
        2, gt=0, description="Small TorchServe requests of a kind under way from which on the next ones leave as one."
    )
    max_upstream_connections: int = Field(256, gt=0, description="Open connections to each upstream.")
    timeout_s: float = Field(30.0, gt=0, description="How long one upstream answer may take.")
    index_wait_s: float = Field(
        0.0, ge=0, le=60, description="How long searches wait for an index service that is away; 0: not at all."
    )
    ready_timeout_s: float = Field(
        2.0, gt=0, le=10, description="How long each readiness check may take, once all have passed; until then 10 s."
    )
    image_roots: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description="Folders of pictures to show: `demo=data/demo/gallery,…`."
    )
    pictures: Literal["in_place", "thumbnails", "copy"] = Field(
        "thumbnails",
        description="Kept of ingested pictures: nothing of those in folders, thumbnails, or these and the originals.",
    )
    pictures_dir: Path | None = Field(
        None, description="Folder of kept pictures, which several gateways may share; empty: in data_dir."
    )
    pictures_url: str = Field(
        "", description="Object storage for thumbnails instead: `s3://bucket/prefix`, `gs://…`, `az://…`."
    )
    pictures_max_bytes: int = Field(
        20_000 * MB, gt=0, description="Most bytes of kept pictures; beyond it items go in without."
    )
    pictures_min_free_bytes: int = Field(
        1024 * MB, ge=0, description="Bytes of the disk left free: with fewer, no more pictures are kept."
    )
    picture_threads: int = Field(
        0, ge=0, le=64, description="Threads that make thumbnails; 0: half the cores, 2 at least."
    )
    image_hosts: Words = Field(
        (), description="Hosts whose pictures the page shows by `image_url`: `cdn.example.org,*.example.net`; `*`: any."
    )
    fetch_urls: bool = Field(False, description="Fetch images that requests name by http(s) URL.")
    fetch_hosts: Words = Field((), description="Hosts fetched from: `img.example.org,*.example.net`; empty: any.")
    fetch_ports: Numbers = Field((80, 443), description="Ports fetched from.")
    fetch_networks: Words = Field((), description="Private networks fetched from all the same: `10.1.0.0/16`.")
    fetch_timeout_s: float = Field(10.0, gt=0, description="How long fetching one image may take, redirects included.")
    fetch_max_redirects: int = Field(
        3, ge=0, description="Most redirects followed; each is checked like the first URL."
    )
    fetch_concurrency: int = Field(16, gt=0, description="Images fetched at once.")
    max_image_pixels: int = Field(
        64_000_000, gt=0, description="Most pixels of a fetched image; more is a 413. Thumbnails too."
    )
    data_dir: Path = Field(Path("data/gateway"), description="Folder of jobs and kept pictures; one gateway at a time.")
    ingest_roots: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description="Folders that jobs may read: `photos=/srv/photos,…`."
    )
    jobs: bool = Field(True, description="Take jobs; false: refuse them, where several gateways share no disk.")
    job_batch: int = Field(32, gt=0, le=256, description="Items that a job or an NDJSON stream adds at a time.")
    max_jobs: int = Field(1, gt=0, description="Jobs that run at a time; others wait.")
    llm_url: str = Field(
        "", description="A server that speaks OpenAI's API, for answers: `https://api.openai.com/v1`; empty: offline."
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="The key that it asks for; better a secret file.")
    llm_model: str = Field("", description="Its model that answers, such as gpt-4.1-mini.")
    llm_api: Literal["chat", "responses"] = Field("chat", description="Chat completions or Responses.")
    llm_vision: bool = Field(True, description="Show it pictures; false: captions and metadata only.")
    llm_timeout_s: float = Field(60.0, gt=0, description="How long an answer may take, with all tries.")
    llm_retries: int = Field(2, ge=0, le=10, description="How often the `openai` package sends a request again.")
    llm_concurrency: int = Field(8, gt=0, description="Questions under way at that server; others wait.")
    llm_key_concurrency: int = Field(4, gt=0, description="Questions that a key may have under way.")
    llm_max_tokens: int = Field(500, ge=16, description="Tokens of an answer.")
    llm_prompt_tokens: int = Field(6000, ge=500, description="Tokens of a question with all that is shown.")
    llm_usd_per_day: float | None = Field(
        None, ge=0, description="USD a day (UTC) for answers; without a price of the model, none is given."
    )
    llm_key_usd_per_day: float | None = Field(None, ge=0, description="The same for each key.")
    llm_prices_file: Path | None = Field(
        None, description="Prices that win over gateway/assistant/provider/prices.json, in its form."
    )
    llm_cache: int = Field(1000, ge=0, description="Answers of the last day kept in memory; 0: none.")
    chat_model_url: str = Field(
        "", description="A server that answers chats without a picture, as `clipserve local-llm` does; empty: none."
    )
    chat_model: str = Field("smollm2", min_length=1, description="Its model's name, there and in requests.")
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

    @field_validator("torchserve_url", "management_url", "metrics_url", "index_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        return http_url(value)

    @field_validator("llm_url", "chat_model_url")
    @classmethod
    def _is_http_or_empty(cls, value: str) -> str:
        return http_url(value) if value else value

    @field_validator("llm_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        return SecretStr(header_value(value.get_secret_value().strip()))

    @field_validator("scaler_urls")
    @classmethod
    def _are_http(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(http_url(url) for url in value)

    @field_validator("allowed_hosts", "fetch_hosts", "image_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        host_names(value, "write a name alone, such as search.lan")
        return value

    @field_validator("*")
    @classmethod
    def _is_bounded(cls, value: object) -> object:
        return bounded(value)

    @field_validator("fetch_ports")
    @classmethod
    def _are_ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 < port < 65536 for port in value):
            raise ValueError("must be ports from 1 to 65535: `80,443`")
        return value

    @field_validator("keys_file", "models_file")
    @classmethod
    def _is_no_folder(cls, value: Path | None) -> Path | None:
        if value is not None and os.path.isdir(value):
            raise ValueError(f"{value} is a folder: name a file, such as data/keys.db")
        return value

    @field_validator("ingest_roots")
    @classmethod
    def _are_folders(cls, value: dict[str, Path]) -> dict[str, Path]:
        folders(value, may_come_later=False)
        return value

    @field_validator("image_roots")
    @classmethod
    def _may_be_folders(cls, value: dict[str, Path]) -> dict[str, Path]:
        folders(value, may_come_later=True)  # the demo's is rendered after the start
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        check_redis_url(value.get_secret_value())
        return value

    @field_validator("database_url")
    @classmethod
    def _is_database(cls, value: SecretStr) -> SecretStr:
        check_database_url(value.get_secret_value())
        return value

    @field_validator("fetch_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        AddressPolicy(value)  # raises ValueError that names the one at fault
        return value

    @field_validator("api_keys")
    @classmethod
    def _holds_a_key(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _words(value):
            raise ValueError("holds no key; leave it out to have none")
        if not all(re.fullmatch("[!-~]+", word) for word in _words(value)):
            raise ValueError("keys have printable ASCII letters only, and no spaces: no header could carry others")
        return value

    @model_validator(mode="after")
    def _closed_unless_local(self) -> GatewaySettings:
        if not self.keys and not self._may_hold_keys() and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reachable from other machines and there are no API keys: "
                "set CLIPSERVE_GATEWAY_API_KEYS, make one with `clipserve keys create`, or listen on 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _keys_in_one_place(self) -> GatewaySettings:
        if self.keys_file is not None and self.database_url.get_secret_value():
            raise ValueError("keys_file and database_url exclude each other: with a database, keys are in it")
        return self

    @model_validator(mode="after")
    def _no_originals_in_a_bucket(self) -> GatewaySettings:
        if self.pictures_url and self.pictures == "copy":
            raise ValueError("pictures_url keeps thumbnails: leave out pictures=copy, or keep pictures in a folder")
        return self

    @model_validator(mode="after")
    def _whole_llm(self) -> GatewaySettings:
        if bool(self.llm_url) != bool(self.llm_model):
            raise ValueError("llm_url and llm_model go together")
        return self

    @model_validator(mode="after")
    def _room_for_bodies(self) -> GatewaySettings:
        if self.max_buffered_bytes < 2 * self.max_body_bytes:
            raise ValueError("max_buffered_bytes must hold at least two bodies of max_body_bytes")
        return self

    @model_validator(mode="after")
    def _whole_tls(self) -> GatewaySettings:
        for name, path in (("tls_certificate", self.tls_certificate), ("tls_key", self.tls_key)):
            if path is not None and not os.path.isfile(path):
                raise ValueError(f"{environment_name(name)}: there is no file {path}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @staticmethod
    def unknown_names() -> list[str]:
        """A line on each variable or file that has an old name, or looks like a setting of the gateway, and is none."""
        return [*unknown_names(os.environ, PREFIX, GatewaySettings.model_fields), *old_files(PREFIX)]

    def _may_hold_keys(self) -> bool:
        """A file, or a database: without keys in it a gateway that other machines reach admits nobody."""
        in_file = self.keys_file is not None and os.path.isfile(self.keys_file)  # False, too, where it may not look
        return in_file or bool(self.database_url.get_secret_value())

    @property
    def keys(self) -> tuple[str, ...]:
        """The accepted API keys."""
        return _words(self.api_keys)

    def key_limits(self) -> KeyLimits:
        """Those of keys that do not bring their own."""
        return KeyLimits(
            self.requests_per_minute, self.items_per_minute, self.megapixels_per_minute, self.key_concurrency
        )

    def client_timeouts(self) -> ClientTimeouts:
        """With clients that send or read slowly."""
        return ClientTimeouts(self.read_timeout_s, self.body_timeout_s, self.stall_timeout_s)

    def fetch_limits(self) -> FetchLimits:
        """What one fetch may take."""
        return FetchLimits(
            max_bytes=self.max_image_bytes,
            max_pixels=self.max_image_pixels,
            timeout_s=self.fetch_timeout_s,
            max_redirects=self.fetch_max_redirects,
            concurrency=self.fetch_concurrency,
        )

    def url_policy(self) -> UrlPolicy:
        """Which URLs may be fetched, by their own words."""
        return UrlPolicy(self.fetch_hosts, self.fetch_ports)

    def address_policy(self) -> AddressPolicy:
        """Which addresses may be connected to for that."""
        return AddressPolicy(self.fetch_networks)


def _words(secret: SecretStr) -> tuple[str, ...]:
    return tuple(word.strip() for word in secret.get_secret_value().split(",") if word.strip())


def environment_name(field: str) -> str:
    return f"{PREFIX}{field.upper()}"


def is_loopback(host: str) -> bool:
    """True for localhost and the loopback addresses; a name that must be resolved is not trusted."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
