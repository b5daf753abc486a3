"""The bodies of background jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.schemas.asking import CostEstimate
from gateway.schemas.base import ErrorBody, Schema, example
from gateway.schemas.items import CaptionWanted

State = Literal["queued", "running", "completed", "cancelled", "failed"]
_PATH = "`ROOT/path`, where ROOT is one of the server's `ingest_roots`."
_ERROR = {"message": "not an image", "type": "invalid_request_error", "param": None, "code": "invalid_image"}
_JOB = {
    "id": "5f0c6c2e",
    "collection": "demo",
    "source": {"folder": "photos/2024"},
    "state": "running",
    "progress": {"total": 1000, "processed": 320, "added": 308, "unchanged": 7, "skipped": 3, "failed": 2},
    "reasons": {"skipped": {"not a picture (.mp4)": 3}, "failed": {"invalid_image": 2}},
    "rate": 41.5,
    "eta_s": 16.4,
    "created": "2026-01-01T00:00:00Z",
}


class UrlEntry(Schema):
    url: str = Field(min_length=1, max_length=4096)
    id: str | None = Field(None, min_length=1, max_length=512)
    metadata: dict[str, Any] | None = None


class Columns(Schema):
    id: str | None = None
    image: str | None = Field(None, description='Bytes, or {"bytes", "path"} structs.')
    text: str | None = None
    url: str | None = None
    caption: str | None = None
    metadata: str | None = Field(None, description="An object in JSON.")


class JobSource(Schema):
    old_names: ClassVar[Mapping[str, str]] = {"again": "force"}
    folder: str | None = Field(None, min_length=1, description=f"Every picture below it. {_PATH}")
    webdataset: str | None = Field(None, min_length=1, description=f"A tar of samples, or a pattern. {_PATH}")
    parquet: str | None = Field(None, min_length=1, description=f"A Parquet file, or a pattern. {_PATH}")
    columns: Columns | None = Field(None, description="Which columns of the Parquet file hold what.")
    url_list: str | None = Field(None, min_length=1, description=f"A text file, one URL a line. {_PATH}")
    urls: list[str | UrlEntry] | None = Field(None, min_length=1, fail_fast=True, description="Needs `fetch_urls`.")
    prefix: str | None = Field(None, max_length=256, description="Put before ids, to keep several sources apart.")
    force: bool | None = Field(None, description="Send everything, also what is unchanged since an earlier job.")


class JobRequest(Schema):
    model_config = example({"collection": "demo", "source": {"folder": "photos/2024"}})
    collection: str = Field(min_length=1)
    source: JobSource = Field(description="Exactly one of folder, webdataset, parquet, url_list and urls.")
    caption: CaptionWanted = Field(
        None, description="Caption pictures whose metadata has no `caption`; llm: by the language model."
    )
    dry_run: bool = Field(False, description="Begin nothing: say how many entries there are, and what captions cost.")


class Progress(Schema):
    total: int | None = Field(None, description="Null until it is known.")
    processed: int
    added: int
    unchanged: int = Field(description="In the collection since an earlier job, and not sent again.")
    skipped: int = Field(description="Left out before they were sent: no picture, unreadable, too large and so on.")
    failed: int = Field(description="Sent and refused; see /v1/jobs/{job_id}/failures.")


class JobAnswer(Schema):
    model_config = example(_JOB)
    id: str
    collection: str
    source: dict[str, Any] = Field(description="As it was given; of many URLs only their number, as `urls_total`.")
    caption: CaptionWanted = Field(None, description="Where it captions pictures: true, or llm.")
    state: State
    progress: Progress
    reasons: dict[str, dict[str, int]] = Field(
        description="How many were skipped and failed, by reason; `noted`: what was done to items that are in."
    )
    rate: float | None = Field(None, description="Items a second.")
    eta_s: float | None = None
    message: str | None = Field(None, description="What it waits for, if it does.")
    error: ErrorBody | None = None
    created: str
    finished: str | None = None


class JobPlan(Schema):
    model_config = example(
        {
            "object": "job.plan",
            "collection": "demo",
            "total": 1000,
            "estimate": {"items": 1000, "prompt_tokens": 210000, "cost_usd": 0.28},
        }
    )
    object: Literal["job.plan"] = "job.plan"
    collection: str
    total: int | None = Field(description="Entries of the source; null where only reading it would tell.")
    estimate: CostEstimate | None = Field(description="Of captions by the language model, at most.")


class JobsAnswer(Schema):
    model_config = example({"jobs": [_JOB], "next": None})
    jobs: list[JobAnswer]
    next: str | None = Field(None, description="What to pass as `after`; null at the end.")


class JobFailure(Schema):
    id: str = Field(description="The item's id, or the name of what can be no item.")
    outcome: Literal["failed", "skipped"]
    reason: str = Field(description="Short, and the same for all with that fate.")
    error: ErrorBody


class FailuresAnswer(Schema):
    model_config = example(
        {"failures": [{"id": "a.jpg", "outcome": "failed", "reason": "invalid_image", "error": _ERROR}], "next": None}
    )
    failures: list[JobFailure]
    next: int | None = Field(None, description="What to pass as `after`; null at the end.")
