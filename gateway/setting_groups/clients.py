"""What clients may send, how slowly, and how many of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from clip_core.secret_files import SettingsOrFiles
from gateway.middleware.client_timeouts import ClientTimeouts
from gateway.setting_groups.types import MB


class ClientSettings(SettingsOrFiles):
    """Admission, connections, TLS, and sizes of requests."""

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

    @model_validator(mode="after")
    def _room_for_bodies(self) -> ClientSettings:
        if self.max_buffered_bytes < 2 * self.max_body_bytes:
            raise ValueError("max_buffered_bytes must hold at least two bodies of max_body_bytes")
        return self

    def client_timeouts(self) -> ClientTimeouts:
        """With clients that send or read slowly."""
        return ClientTimeouts(self.read_timeout_s, self.body_timeout_s, self.stall_timeout_s)
