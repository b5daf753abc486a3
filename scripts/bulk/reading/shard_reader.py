"""A shard → its items, read but not decoded; what can't be read has its code."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import Any

from clipserve_client.sources.entries import SourceError
from scripts.bulk.output.run_folder import Output
from scripts.bulk.reading.files import FileReader
from scripts.bulk.reading.items import Bad, Raw
from scripts.bulk.reading.lines import LineReader
from scripts.bulk.reading.places import THREADS, is_the_disks
from scripts.bulk.reading.rows import RowReader
from scripts.bulk.reading.stores import Stores
from scripts.bulk.reading.tars import TarReader
from scripts.bulk.reading.urls import Fetcher
from scripts.bulk.shards.errors import Away, why
from scripts.bulk.shards.shard import Shard


class ShardReader:
    """The sources of a job: `storage`, `embed` and `texts` are those of `BulkJob`."""

    def __init__(self, output: Output, storage: Mapping[str, Any], embed: str, *, texts: bool) -> None:
        fetcher, stores = Fetcher(THREADS), Stores(storage)
        self._items = {
            "files": FileReader(output, stores, embed).items,
            "tar": TarReader(storage, embed).items,
            "parquet": RowReader(stores, embed, fetcher).items,
            "lines": LineReader(stores, embed, texts, fetcher).items,
        }

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """In a fixed order. Raises SourceError where the shard is damaged from there on, and Away."""
        try:
            yield from self._items[shard.kind](shard)
        except OSError as error:
            raise Away(f"{shard.path} can't be read: {why(error)}") from error
        except SourceError as error:
            if is_the_disks(error.__cause__, errno.EACCES, errno.EPERM):  # no damage of a tar or a Parquet file
                raise Away(error.message) from error
            raise
