"""Pictures of items: what is kept of them, where, and from where they are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from clip_core.secret_files import SettingsOrFiles
from gateway.setting_groups.folders import folders
from gateway.setting_groups.types import MB, Hosts, Roots


class PictureSettings(SettingsOrFiles):
    """Of the pictures that items have."""

    image_roots: Roots = Field(
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
    image_hosts: Hosts = Field(
        (), description="Hosts whose pictures the page shows by `image_url`: `cdn.example.org,*.example.net`; `*`: any."
    )

    @field_validator("image_roots")
    @classmethod
    def _may_be_folders(cls, value: dict[str, Path]) -> dict[str, Path]:
        folders(value, may_come_later=True)  # the demo's is rendered after the start
        return value

    @model_validator(mode="after")
    def _no_originals_in_a_bucket(self) -> PictureSettings:
        if self.pictures_url and self.pictures == "copy":
            raise ValueError("pictures_url keeps thumbnails: leave out pictures=copy, or keep pictures in a folder")
        return self
