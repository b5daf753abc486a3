"""Shards that are written → a collection, with the vectors that were computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from clipserve_client import Client, NewItem, Result
from clipserve_client.errors import UnknownCollection
from clipserve_client.ingest.engine import run as deliver
from clipserve_client.inputs.pictures import encoded_vector
from clipserve_client.sources.json_values import within
from scripts.bulk.output.place import write_text
from scripts.bulk.output.run_folder import Output
from scripts.bulk.shards.errors import BulkRefused
from scripts.bulk.shards.shard import Done, Shard

_ROWS = 256
_LONGEST_ID = 512
_ROOM = 512  # bytes of metadata, for what is added here and by the gateway
Json = dict[str, Any]


class Sender:
    """Raises BulkRefused for a collection of another model: vectors that come from outside are not checked there."""

    def __init__(self, client: Client, collection: str, fingerprint: str, output: Output, prefix: str) -> None:
        self._client, self._output, self._prefix = client, output, prefix
        try:
            described = client.collection(collection)
        except UnknownCollection:
            described = client.create_collection(collection)
        if described.fingerprint != fingerprint:
            raise BulkRefused(
                f"the collection {described.name!r} is of {described.model!r} ({described.fingerprint}), "
                f"and the archive's fingerprint is {fingerprint}: serve this archive, or name another collection"
            )
        self.name = described.name
        self._of = [prefix, described.raw.get("created")]  # one that was deleted and made again has nothing yet
        self.refused: list[Result] = []
        self.sent = 0

    def send(self, shard: Shard, done: Done) -> None:
        """Once; again where it was cut short. Raises ClientError and OSError."""
        place, mark = self._output.place, self._output.sent(shard, self.name)
        state = json.dumps([done.version, done.rows, *self._of])
        if place.read(mark) == state.encode():
            return
        with place.here(self._output.part(shard)) as path:
            if path is None:
                return
            items = _items(path, self._prefix, self._client.limits().max_metadata_bytes)
            tally = deliver(self._client, self.name, items, on_result=self._told)
        self.sent += tally.added
        if not tally.failed:
            write_text(place, mark, state)

    def _told(self, result: Result) -> None:
        if result.outcome == "failed":
            self.refused.append(result)


def _items(path: Path, prefix: str, most_bytes: int) -> Iterator[NewItem | Result]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            yield from _of_batch(batch, prefix, most_bytes - _ROOM)


def _of_batch(batch: pyarrow.RecordBatch, prefix: str, most_bytes: int) -> Iterator[NewItem | Result]:
    for row in batch.to_pylist():
        item_id = prefix + row["id"]
        if len(item_id) > _LONGEST_ID:
            yield Result(item_id, "failed", "id too long", f"ids have at most {_LONGEST_ID} characters")
            continue
        told = {**({"caption": row["caption"]} if row["caption"] else {}), **json.loads(row["metadata"] or "{}")}
        metadata, notes = within(told, most_bytes)
        digest = {"digest": row["digest"]} if row["digest"] else {}
        vector = encoded_vector(row["vector"] or row["text_vector"])  # of both, an item may lack the picture
        yield NewItem(item_id, vector=vector, metadata={**metadata, **digest}, notes=notes)
