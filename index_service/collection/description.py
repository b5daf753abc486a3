"""A collection as the API shows it."""

from __future__ import annotations

from typing import Any

import orjson

from index_service.engines.approximate.segment import ApproximateSegment
from index_service.engines.base import Segment
from index_service.record.store import CollectionInfo
from index_service.segments.engine_choice import describe_engine
from index_service.segments.view import View


def describe_collection(info: CollectionInfo, view: View) -> dict[str, Any]:
    """What the collection was created with and what it holds."""
    return {
        "name": info.name,
        "model": info.model,
        "fingerprint": info.fingerprint,
        "dim": info.dim,
        "metric": info.metric,
        **describe_engine(info.engine),
        "store": info.store,
        "recall_target": info.recall_target,
        "count": view.live,
        "seq": view.last_seq,
        "created": info.created,
        "metadata": orjson.Fragment(info.metadata),
        "segment": _describe_segment(view.rows.main, view),
    }


def _describe_segment(main: Segment, view: View) -> dict[str, Any]:
    delta = len(view.delta)
    return {
        "engine": main.engine,
        **(main.description if isinstance(main, ApproximateSegment) else {}),
        "rows": view.count - delta,
        "delta": delta,
        "tombstones": view.count - view.live,
    }
