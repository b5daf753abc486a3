"""The folder of data, and background jobs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from clip_core.secret_files import SettingsOrFiles
from gateway.setting_groups.folders import folders
from gateway.setting_groups.types import Roots


class JobSettings(SettingsOrFiles):
    """Of jobs, which read folders and URLs."""

    data_dir: Path = Field(Path("data/gateway"), description="Folder of jobs and kept pictures; one gateway at a time.")
    ingest_roots: Roots = Field(default_factory=dict, description="Folders that jobs may read: `photos=/srv/photos,…`.")
    jobs: bool = Field(True, description="Take jobs; false: refuse them, where several gateways share no disk.")
    job_batch: int = Field(32, gt=0, le=256, description="Items that a job or an NDJSON stream adds at a time.")
    max_jobs: int = Field(1, gt=0, description="Jobs that run at a time; others wait.")

    @field_validator("ingest_roots")
    @classmethod
    def _are_folders(cls, value: dict[str, Path]) -> dict[str, Path]:
        folders(value, may_come_later=False)
        return value
