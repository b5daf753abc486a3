"""The bodies of calls about a collection's folders of pictures."""

from __future__ import annotations

from pydantic import Field

from gateway.schemas.base import Schema, example


class FolderRequest(Schema):
    model_config = example({"folder": "/home/me/Pictures", "prefix": "", "token": "the content of the token file"})
    folder: str = Field(min_length=1, max_length=4096, description="The folder's full path on the gateway's machine.")
    prefix: str = Field("", max_length=512, description="What the ids of its pictures begin with.")
    token: str = Field(max_length=256, description="The content of `token_file`.")


class FolderTokenAnswer(Schema):
    model_config = example({"token_file": "/srv/clipserve/data/gateway/folders.token"})
    token_file: str | None = Field(description="Null where the gateway can't write it.")


class NamedFolderAnswer(Schema):
    model_config = example({"folders": 1})
    folders: int = Field(description="How many the collection has now.")
