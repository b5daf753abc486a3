"""A collection as the API shows it."""

from __future__ import annotations

from typing import Any

import orjson

from index_service.engines.approximate.segment import ApproximateSegment
from index_service.record.store import CollectionInfo
from index_service.segments.engine_choice import describe_engine
from index_service.segments.view import View


def describe_collection(info: CollectionInfo, count: int, seq: int, segment: dict[str, Any]) -> dict[str, Any]:
    """What the collection was created with, and how many items it holds in which segment."""
    return {
        "name": info.name,
        "model": info.model,
        "fingerprint": info.fingerprint,
        "dim": info.dim,
        "metric": info.metric,
        **describe_engine(info.engine),
        "store": info.store,
        "recall_target": info.recall_target,
        "count": count,
        "seq": seq,
        "created": info.created,
        "metadata": orjson.Fragment(info.metadata),
        "segment": segment,
    }


def describe_segment(view: View) -> dict[str, Any]:
    """The main segment, and what is beside it."""
    main, delta = view.rows.main, len(view.delta)
    return {
        "engine": main.engine,
        **(main.description if isinstance(main, ApproximateSegment) else {}),
        "rows": view.count - delta,
        "delta": delta,
        "tombstones": view.count - view.live,
    }
