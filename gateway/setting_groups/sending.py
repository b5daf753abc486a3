"""How inputs go to TorchServe, and how long answers may take."""

from __future__ import annotations

from pydantic import Field

from clip_core.secret_files import SettingsOrFiles
from gateway.setting_groups.types import MB


class SendingSettings(SettingsOrFiles):
    """Of requests to what is behind the gateway."""

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
