"""Changes of many items' metadata: in parts that the gateway takes in one call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import clipserve_client.answers.reading as reading
from clipserve_client.answers.answers import ItemResult, Json, Limits
from clipserve_client.calls.calls import Call, items_path

_SHARE = 4  # a call's body is at most this part of what the gateway takes


def update_calls(
    collection: str, patches: Mapping[str, Json | None], limits: Limits
) -> Iterator[Call[list[ItemResult]]]:
    """One call for each part of the patches, in their order."""
    part: list[bytes] = []
    size = 0
    for item_id, metadata in patches.items():
        told = json.dumps({"id": item_id, "metadata": metadata}, allow_nan=False, separators=(",", ":")).encode()
        if part and (len(part) == limits.max_items or size + len(told) > limits.max_body_bytes // _SHARE):
            yield _call(collection, part)
            part, size = [], 0
        part.append(told)
        size += len(told)
    if part:
        yield _call(collection, part)


def _call(collection: str, part: list[bytes]) -> Call[list[ItemResult]]:
    """May be sent twice: a merge patch that was applied changes nothing more."""
    return Call("PATCH", items_path(collection), reading.item_results, encoded=b'{"items":[%s]}' % b",".join(part))
