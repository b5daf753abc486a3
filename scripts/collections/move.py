"""A collection brought from one store into the other, with its vectors, while it is in use; then an alias is switched.

Items are copied inside the index service in the order of writing; what is written or deleted meanwhile is followed.
Ids, counts and a sample of whole items are compared before the alias is switched. For some seconds afterwards, writes
that had begun before the switch are brought over. Progress is kept in a file, so that a second run goes on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clip_core.errors import Conflict, UnknownItem
from scripts.collections.listed_items import PAGE, Api, delete_what_is_gone, ids
from scripts.collections.reindex import State

_SAMPLE = 200
_ROUNDS = 10  # of following, until both are alike while others write
_GRACE_S = 5.0  # in which every replica knows the alias, and writes from before have ended
_SETTINGS = ("model", "fingerprint", "dim", "metric", "recall_target", "metadata")
_ENGINES = {"milvus": ("auto", "exact", "hnsw")}
Json = dict[str, Any]


class Move:
    """From the collection `state.old` to `state.new`, which is made in `store`; progress is kept at `path`."""

    def __init__(
        self, index: Api, path: Path, state: State, store: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._index, self._path, self.state, self._store, self._sleep = index, path, state, store, sleep
        self._old, self._new = (f"/collections/{quote(name, safe='')}" for name in (state.old, state.new))

    def copy(self, console: Console) -> int:
        """Make the new collection and copy until both are alike; how many items there are. Raises Conflict."""
        described = self._index.call("GET", self._old)
        self._index.call("PUT", self._new, self._settings(described))
        columns = (TextColumn(f"move to {self.state.new}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("move", total=described["count"], completed=self._count(self._new))
            for _ in range(_ROUNDS):
                for page in self._pages(self._old, self.state.since):
                    self._bring(page)
                    progress.advance(task, len(page))
                delete_what_is_gone(self._index, self._old, self._new, frozenset())
                if self._alike():
                    return self._count(self._new)
        raise Conflict(
            f"{self.state.old} and {self.state.new} are not alike: {self._count(self._old)} and "
            f"{self._count(self._new)} items. Run again; if it stays so, something else writes to {self.state.new}"
        )

    def _settings(self, described: Json) -> Json:
        wanted = {name: described[name] for name in _SETTINGS if described.get(name) is not None}
        engine = described["engine"]
        if engine in _ENGINES.get(self._store, (engine,)) and "factory" not in described:
            wanted["engine"] = engine
        return {**wanted, "store": self._store}

    def switch(self, alias: str) -> None:
        """Point the alias to the new collection, and bring over what was written to the old one until then."""
        before = self._index.call("GET", self._new)["seq"]
        self._index.call("PUT", f"/aliases/{quote(alias, safe='')}", {"collection": self.state.new})
        for wait in (0.0, _GRACE_S):
            self._sleep(wait)
            for page in self._pages(self._old, self.state.since):
                newer = self._newer(before)
                self._bring([item for item in page if item["id"] not in newer], page[-1]["seq"])
        delete_what_is_gone(self._index, self._old, self._new, self._newer(before))

    def _newer(self, seq: int) -> frozenset[str]:
        return frozenset(item["id"] for page in self._pages(self._new, seq) for item in page)

    def _bring(self, items: list[Json], seq: int | None = None) -> None:
        if items:
            ids = [item["id"] for item in items]
            body = {"from": self.state.old, "ids": ids}
            self._index.call("POST", f"{self._new}/items/copy", body)  # one that is gone by now is deleted later
        self.state.since = items[-1]["seq"] if seq is None else seq
        self.state.save(self._path)

    def _pages(self, collection: str, since: int) -> Iterator[list[Json]]:
        """What was written beyond `since` until now: somebody may write faster than this reads."""
        until = self._index.call("GET", collection)["seq"]
        while since < until:
            page: list[Json] = self._index.call("GET", f"{collection}/items?since={since}&limit={PAGE}")["items"]
            if not page:
                return
            yield page
            since = page[-1]["seq"]

    def _count(self, collection: str) -> int:
        return int(self._index.call("GET", collection)["count"])

    def _alike(self) -> bool:
        """Whether nothing is missing, and items of a sample are the same bit for bit: but for what is written just now.

        Where nothing is, both must have as many items.
        """
        since, old = self.state.since, list(ids(self._index, self._old))
        absent = set(old).difference(ids(self._index, self._new))
        missing = {id_ for id_ in absent if self._item(self._old, id_) is not None}  # the others were deleted meanwhile
        sample = random.sample(old, min(_SAMPLE, len(old)))
        differing = {id_ for id_ in sample if self._item(self._old, id_) not in (None, self._item(self._new, id_))}
        now = {item["id"] for page in self._pages(self._old, since) for item in page}
        counts = [self._count(collection) for collection in (self._old, self._new)]
        return not (missing | differing) - now and (bool(now) or counts[0] == counts[1])

    def _item(self, collection: str, id_: str) -> Json | None:
        try:
            path = f"{collection}/items/{quote(id_, safe='')}?include=vector,source"
            item: Json = self._index.call("GET", path)
        except UnknownItem:
            return None
        return item
