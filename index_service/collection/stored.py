"""What a stored collection promises, and what a store of collections does: routes never ask which one is behind.

`Collection` keeps its items in this service's own record, `MilvusCollection` in Milvus.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from clip_core.wire import Consistency, Exactness, FloatArray
from index_service.answers.duplicates import DuplicateGroup
from index_service.answers.facets import FieldFacet
from index_service.answers.hits import BatchAnswers, Search, SearchBatch
from index_service.collection.patches import PatchBatch
from index_service.collection.recall import Sample
from index_service.record.records import CollectionInfo, ItemChunk, StoredItem


class Gauges(NamedTuple):
    """What `/metrics` shows of a collection; `recall` as `RecallCounts.describe` gives it.

    `items` is None, and means the other counts, too, where they aren't known without asking another process.
    """

    items: int | None
    delta: int = 0
    dead: int = 0
    merge_failures: int = 0
    recall: Sequence[dict[str, Any]] = ()


class StoredCollection(Protocol):
    """One collection. Every write is durable, and seen by reads that begin later, when it returns.

    Every method raises Unavailable while the store can't answer.
    """

    @property
    def info(self) -> CollectionInfo:
        """What it was created with."""
        ...

    @property
    def waits(self) -> bool:
        """Whether its methods wait for another process, and so must not take the threads of others."""
        ...

    @property
    def most_metadata(self) -> int | None:
        """Bytes of an item's metadata that the store can hold; None where it sets no limit."""
        ...

    def describe(self) -> dict[str, Any]:
        """The collection as the API shows it."""
        ...

    def gauges(self) -> Gauges:
        """What is known of it now; never waits."""
        ...

    def upsert(self, items: Sequence[StoredItem], vectors: FloatArray) -> None:
        """Add or replace `items`, whose ids differ, with their `vectors` (N, D)."""
        ...

    def patch(self, batch: PatchBatch) -> None:
        """Change the metadata of items; the `results` of the batch say what became of each."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the items of these ids; how many there were."""
        ...

    def delete_where(self, where: bytes) -> int:
        """Delete every item that the canonical filter lets through; how many there were."""
        ...

    def get(self, id_: str, consistency: Consistency | None = None) -> StoredItem:
        """The item. Raises UnknownItem."""
        ...

    def items(self, ids: Sequence[str]) -> list[StoredItem]:
        """Those of `ids` that there are, in any order."""
        ...

    def page(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """(id, metadata) of the next `limit` items by id."""
        ...

    def matching(self, where: bytes, after: str, most: int) -> Iterator[tuple[str, bytes]]:
        """(id, metadata) of items behind `after` that the canonical filter lets through, by id.

        About `most` will be taken.
        """
        ...

    def ids(self, where: bytes | None, after: str, most: int) -> tuple[list[str], str | None]:
        """Of up to `most` items behind the id `after`, by id: all, or those that the canonical filter lets through.

        With them the last one where more follow, else None.
        """
        ...

    def since(self, seq: int, limit: int) -> ItemChunk:
        """The next `limit` items written after the sequence number `seq`."""
        ...

    def stream(self) -> Iterable[ItemChunk]:
        """All items, some thousand at a time."""
        ...

    def facets(self, fields: Sequence[str] | None, where: bytes | None, most: int, most_bytes: int) -> list[FieldFacet]:
        """See `facets_of`."""
        ...

    def duplicates(self, after: str, most: int, most_ids: int) -> list[DuplicateGroup]:
        """See `Duplicates.groups`. One call at a time."""
        ...

    def listing_bytes(self, entries: int) -> int:
        """About how many bytes a listing of so many whole items has."""
        ...

    def answer_bytes(self, search: Search) -> int:
        """About how many bytes the answer of a search has."""
        ...

    def search_cost(self, batch: SearchBatch, where: bytes | None, exact: Exactness) -> int:
        """What the search takes at most, in the unit of `Segment.cost`."""
        ...

    def search(
        self,
        batch: SearchBatch,
        where: bytes | None,
        exact: Exactness,
        consistency: Consistency | None = None,
        began: float = math.inf,
    ) -> tuple[BatchAnswers, Sample | None]:
        """What the searches find under a canonical filter, and one of them to measure recall on.

        They see what `consistency` says as of `began`, the `time.monotonic()` of a call with several such; or of now.
        """
        ...


class CollectionStore(Protocol):
    """Collections and aliases that are kept by another process, and perhaps shared with other replicas."""

    def start(self) -> None:
        """Follow what others do from now on, in the background."""
        ...

    def interrupt(self) -> None:
        """End the calls under way: nobody waits for their answers any more. Then `close`."""
        ...

    def close(self) -> None:
        """The last call."""
        ...

    def find(self, name: str, fingerprint: str | None = None) -> StoredCollection | None:
        """By its name or an alias, as `Registry.get`, as far as it is known; never waits."""
        ...

    def unseen(self, name: str) -> bool:
        """Whether `name`, which isn't found, may be there all the same; never waits. Raises Unavailable."""
        ...

    def look_again(self, name: str) -> None:
        """Ask for a collection or alias of that name; what there is, `find` finds now."""
        ...

    def all(self) -> list[StoredCollection]:
        """Every collection, as far as it is known."""
        ...

    def noted(self, name: str) -> bool:
        """Whether it had that name, or alias, when an earlier process asked last, and was not asked since."""
        ...

    def missing(self) -> str | None:
        """Why there may be collections that `all` lacks; None where there are none. Never waits."""
        ...

    def create(self, info: CollectionInfo) -> StoredCollection:
        """A new collection. Raises Conflict where the name is taken."""
        ...

    def restore(self, info: CollectionInfo, items: Iterable[list[StoredItem]]) -> StoredCollection:
        """A new collection that appears with all its items, or not at all."""
        ...

    def drop(self, name: str) -> None:
        """Delete a collection with its items."""
        ...

    def held(self, name: str) -> bool:
        """Whether a replica holds writes to the collection back, as far as it is known; never waits."""
        ...

    def hold(self, name: str, seconds: float, owner: str) -> float:
        """Have every replica hold writes to it back. Raises Conflict where they are held already, by another owner.

        After as many seconds as it returns all know, and no earlier write is under way.
        """
        ...

    def release(self, name: str) -> None:
        """End what `hold` began, at whichever replica."""
        ...

    def known_at(self) -> float:
        """As of when `held` and `find` know everything, as `time.monotonic()`; never waits."""
        ...

    @property
    def in_time_s(self) -> float:
        """How long after `known_at` a write must have ended, so that no hold overlooks it."""
        ...

    def aliases(self) -> dict[str, str]:
        """Alias → collection, as far as it is known."""
        ...

    def set_alias(self, name: str, target: StoredCollection) -> None:
        """Point an alias to one of its collections at once."""
        ...

    def drop_alias(self, name: str) -> bool:
        """Forget an alias; whether there was one."""
        ...
