"""The store of collections in Milvus that the settings name."""

from __future__ import annotations

import importlib.util

from index_service.errors import IndexStartError
from index_service.milvus.catalogue.catalogue import MilvusCatalogue
from index_service.milvus.catalogue.making import MadeWith
from index_service.milvus.collection import MilvusLimits
from index_service.milvus.rpc import MilvusRpc
from index_service.settings import IndexSettings


def shared_store(settings: IndexSettings) -> MilvusCatalogue | None:
    """None without a server. Raises IndexStartError where new collections should be there, and can't.

    The server is not asked here: it may be away while this service starts.
    """
    wanted = settings.store == "milvus"
    if "://" not in settings.milvus_uri:
        if wanted:
            raise IndexStartError(
                "CLIPSERVE_INDEX_STORE=milvus needs a server: set CLIPSERVE_INDEX_MILVUS_URI, such as http://milvus:19530"
            )
        return None
    if importlib.util.find_spec("pymilvus") is None:
        if wanted:
            raise IndexStartError("CLIPSERVE_INDEX_STORE=milvus needs pymilvus: pip install 'clipserve[milvus]'")
        return None
    token = settings.milvus_token.get_secret_value()
    rpc = MilvusRpc(settings.milvus_uri, token, settings.milvus_timeout_s, settings.renewed_token)
    limits = MilvusLimits(settings.milvus_consistency, settings.milvus_watermark_delay_s, settings.hnsw_ef_search)
    built = MadeWith(settings.hnsw_m, settings.hnsw_ef_construction, settings.milvus_shards, settings.milvus_replicas)
    notes = settings.data_dir / f"milvus-{settings.milvus_prefix}.json"
    return MilvusCatalogue(rpc, settings.milvus_prefix, limits, built, settings.milvus_refresh_interval_s, notes)
