"""Items → batches, cut by bytes and by number as the gateway takes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from clipserve_client.answers.answers import Limits
from clipserve_client.ingest.results import Result
from clipserve_client.inputs.inputs import NewItem

BATCH_BYTES = 12 * 1024 * 1024  # two or three photos: enough to keep the model busy, and little to send again
BATCH_ITEMS = 64
_FRAME = 64  # bytes around the items of a body


@dataclass(frozen=True)
class Parcel:
    """An item in JSON."""

    id: str
    content: bytes
    notes: tuple[str, ...] = ()


def body_of(parcels: Iterable[Parcel]) -> bytes:
    """Of a call that adds items."""
    return b'{"items":[' + b",".join(parcel.content for parcel in parcels) + b"]}"


def packed(item: NewItem, limits: Limits) -> Parcel | Result:
    """Or why it can't be sent. Reads the picture's file."""
    try:
        content = _in_json(item)
    except Exception as error:  # of whatever kind: one bad item ends no ingest
        return Result(item.id, "failed", "unreadable", f"{type(error).__name__}: {error}", item.notes)
    if len(content) + _FRAME > limits.max_body_bytes:
        message = f"the item has {len(content):,} bytes; a call of the gateway takes {limits.max_body_bytes:,}"
        return Result(item.id, "failed", "request_too_large", message, item.notes)
    return Parcel(item.id, content, item.notes)


def _in_json(item: NewItem) -> bytes:
    """base64 goes in as it is: to look through megabytes for what JSON escapes takes longer than to make them."""
    if not isinstance(item.image, bytes):
        return _dumped(item.body())
    rest = _dumped(replace(item, image=None).body())
    return b'%b,"image":"%b"}' % (rest.removesuffix(b"}"), base64.b64encode(item.image))


def _dumped(body: dict[str, Any]) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def batches(things: Iterable[NewItem | Result], limits: Limits) -> Iterator[list[Parcel] | Result]:
    """Batches of at least one item, and at once what has its result already. The first item of an id counts."""
    most_bytes, most = min(BATCH_BYTES, limits.max_body_bytes - _FRAME), min(BATCH_ITEMS, limits.max_items)
    batch: list[Parcel] = []
    seen: set[str] = set()
    for thing in things:
        parcel = _parcel(thing, seen, limits)
        if isinstance(parcel, Result):
            yield parcel
            continue
        size = sum(len(each.content) + 1 for each in batch)
        if batch and (len(batch) == most or size + len(parcel.content) > most_bytes):
            yield batch
            batch = []
        batch.append(parcel)
    if batch:
        yield batch


def _parcel(thing: NewItem | Result, seen: set[str], limits: Limits) -> Parcel | Result:
    if isinstance(thing, Result) and thing.outcome != "unchanged" and thing.code != "id_taken":
        return thing
    if thing.id in seen:
        return Result(thing.id, "failed", "duplicate_id", "another item of this run has the same id", thing.notes)
    if isinstance(thing, NewItem) or thing.outcome == "unchanged":
        seen.add(thing.id)
    return thing if isinstance(thing, Result) else packed(thing, limits)
