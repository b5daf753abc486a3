"""The index service's settings, read once from the environment: `CLIPSERVE_INDEX_PORT=9090`, and so on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict, SettingsError

from clip_core.secret_files import SettingsOrFiles, strange_files, variable_as_given
from clip_core.setting_checks import bounded, comma_separated, host_names, unknown_names
from clip_core.wire import MAX_K

MB = 1024 * 1024
PREFIX = "CLIPSERVE_INDEX_"


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_separated)]


class IndexSettings(SettingsOrFiles):
    """Every field is an environment variable; see each description for what it changes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address to listen on. There are no keys: keep it private.")
    allowed_hosts: Words = Field(
        (), description="Names by which callers reach it, beside `HOST` and loopback: `index,index.prod.svc`; `*`: any."
    )
    port: int = Field(8090, ge=0, le=65535, description="Port to listen on; 0 takes a free one and logs it.")
    data_dir: Path = Field(Path("data/index"), description="Folder of the record; one process at a time holds it.")
    log_json: bool = Field(False, description="Log JSON lines instead of text.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    stop_timeout_s: int = Field(
        3, gt=0, description="Seconds for requests in flight after SIGTERM; then they get 503 with Retry-After."
    )
    max_body_bytes: int = Field(64 * MB, gt=0, description="Largest request body; more is a 413.")
    max_answer_bytes: int = Field(
        32 * MB, gt=0, description="Largest answer of searches, listings and facets; a search beyond it gets 413."
    )
    max_metadata_bytes: int = Field(
        64 * 1024, gt=1, description="Most JSON of one item's metadata, or a collection's; more is a 413 for that item."
    )
    max_batch: int = Field(10_000, gt=0, description="Most items of one upsert, patch, copy, delete or listing.")
    max_searches: int = Field(1024, gt=0, description="Most searches of one call.")
    max_k: int = Field(MAX_K, gt=0, le=MAX_K, description="Most hits of one search.")
    max_concurrent_searches: int = Field(
        256, gt=0, description="Search calls under way at once; more get 429 with Retry-After."
    )
    max_concurrent_writes: int = Field(
        64, gt=0, description="Calls under way at once that write or delete items, each with its body; more get 429."
    )
    max_concurrent_facets: int = Field(
        16, gt=0, description="Facet calls waiting or under way, which are answered one after the other; more get 429."
    )
    max_concurrent_copies: int = Field(
        4, gt=0, description="Snapshots and restores waiting or under way, one after the other; more get 429."
    )
    disk_reserve_mb: int = Field(
        64, ge=0, le=65_536, description="Disk space kept for deletions on a full disk, in the file `reserve`; 0: none."
    )
    max_dim: int = Field(8192, gt=0, description="Largest dimension of a collection.")
    max_collections: int = Field(1000, gt=0, description="Most collections held, and most aliases.")
    merge_min_rows: int = Field(4096, gt=0, description="Least rows of the delta (or tombstones) that start a merge.")
    merge_idle_s: float = Field(
        10.0, ge=0, description="Seconds without a write after which a smaller delta is merged too; 0: never."
    )
    build_process_min_rows: int = Field(
        20_000,
        ge=0,
        description="From this many rows a merge builds its engine in a process of its own, at low priority.",
    )
    exact_max_rows: int = Field(50_000, ge=0, description="Up to this many rows the engine `auto` searches exactly.")
    hnsw_m: int = Field(32, ge=2, le=256, description="Links of an HNSW node: more memory, better recall.")
    hnsw_ef_search: int = Field(128, gt=0, description="HNSW candidates of a search when no recall_target is set.")
    hnsw_ef_construction: int = Field(200, gt=0, description="HNSW candidates while building.")
    recall_sample_rate: float = Field(
        0.01, ge=0, le=1, description="Share of approximate searches repeated exactly to know the recall; 0: none."
    )
    store: Literal["embedded", "milvus"] = Field(
        "embedded", description="Where new collections keep their items when the caller names no `store`."
    )
    milvus_uri: str = Field(
        "",
        description="Milvus: the server of the store `milvus`, and of the engine `milvus`, for which empty means "
        "milvus-lite in the data folder.",
    )
    milvus_token: SecretStr = Field(SecretStr(""), description="Token, or user:password, of that Milvus.")
    milvus_prefix: str = Field("clipserve", pattern="^[A-Za-z_]+$", description="Start of the names made in Milvus.")
    milvus_consistency: Literal["strong", "session", "eventually"] = Field(
        "session",
        description="What reads of the store `milvus` see when the caller names no `consistency`: all acknowledged "
        "writes (`strong`), or those that this process acknowledged (`session`).",
    )
    milvus_timeout_s: float = Field(10.0, gt=0, le=600, description="Most seconds of one call of the store `milvus`.")
    milvus_shards: int = Field(
        1, ge=1, le=64, description="Shards of new collections of the store `milvus`: its write channels."
    )
    milvus_replicas: int = Field(
        1,
        ge=1,
        le=64,
        description="Copies of a collection that Milvus' query nodes hold in memory, each on its own node.",
    )
    milvus_refresh_interval_s: float = Field(
        1.0, gt=0, le=60, description="Seconds after which collections and aliases made by other replicas are known."
    )
    milvus_watermark_delay_s: float = Field(
        2.0,
        ge=0,
        le=60,
        description="How old the newest items of a listing by `since` are at least in the store `milvus`: other "
        "replicas' writes may be under way so long. With one replica, 0.",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="Threads that search, and half as many that merge; 0: one a core."
    )

    @field_validator("*")
    @classmethod
    def _is_bounded(cls, value: object) -> object:
        return bounded(value)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        host_names(value, "write names without scheme, port and path, such as index")
        return value

    @field_validator("milvus_uri")
    @classmethod
    def _is_milvus(cls, value: str) -> str:
        if value and not (value.endswith(".db") or _is_server(value)):
            raise ValueError(
                "must be a server, such as http://127.0.0.1:19530, or a milvus-lite file, such as milvus.db"
            )
        return value

    def renewed_token(self) -> str:
        """The token of Milvus, read again where it comes from a file: one that expires is replaced there."""
        known = self.milvus_token.get_secret_value()
        if f"{PREFIX}MILVUS_TOKEN" in os.environ or not known:
            return known
        with suppress(SettingsError, ValidationError):
            return IndexSettings().milvus_token.get_secret_value() or known
        return known

    @staticmethod
    def unknown_names() -> list[str]:
        """A line on each variable or file that has an old name, or looks like a setting of the index, and is none."""
        return [
            *unknown_names(os.environ, PREFIX, IndexSettings.model_fields),
            *strange_files(PREFIX, IndexSettings.model_fields),
        ]


def _is_server(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return parts.scheme in ("http", "https", "tcp") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def environment_name(field: str) -> str:
    """Of the variable that gives it, as errors name it."""
    return variable_as_given(PREFIX, field, os.environ)
