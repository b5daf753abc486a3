"""Aliases in Milvus, set and dropped."""

from __future__ import annotations

from contextlib import suppress

from clip_core.errors import NotFound
from index_service.milvus.rpc import MilvusRefusal, MilvusRpc, messages


def point_alias(rpc: MilvusRpc, alias: str, there: str) -> None:
    """Make the alias, or change where it leads to, at once."""
    milvus = messages()
    try:
        rpc.call("AlterAlias", milvus.AlterAliasRequest(alias=alias, collection_name=there))
    except (MilvusRefusal, NotFound):  # there is none
        rpc.call("CreateAlias", milvus.CreateAliasRequest(alias=alias, collection_name=there))


def drop_alias(rpc: MilvusRpc, alias: str) -> None:
    """Nothing happens where there is none."""
    with suppress(MilvusRefusal, NotFound):  # it is gone
        rpc.call("DropAlias", messages().DropAliasRequest(alias=alias))
