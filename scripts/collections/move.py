"""A collection brought from one store into the other, with its vectors, while it is in use; then an alias is switched.

Items are copied inside the index service in the order of writing; what is written or deleted meanwhile is followed.
Then writes are held back for a moment: what came last is brought over, counts and a sample of whole items are compared,
and the alias is switched. Progress is kept in a file, so that a second run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clip_core.errors import Conflict
from clipserve_client.calls.calls import quoted
from scripts.collections.listed_items import (
    PAGE,
    Api,
    check_alias,
    count,
    delete_what_is_gone,
    ids,
    item_of,
    sampled,
    written_since,
)
from scripts.collections.reindex import State
from scripts.collections.rounds import follow
from scripts.collections.write_hold import WriteHold

_SAMPLE = 50
_SETTINGS = ("model", "fingerprint", "dim", "metric", "recall_target", "metadata")
_ENGINES = {"milvus": ("auto", "exact", "hnsw")}
Json = dict[str, Any]


class Move:
    """From the collection `state.old` to `state.new`, which is made in `store`; progress is kept at `path`."""

    def __init__(self, index: Api, path: Path, state: State, store: str) -> None:
        self._index, self._path, self.state, self._store = index, path, state, store
        self._old, self._new = (f"/collections/{quoted(name)}" for name in (state.old, state.new))

    def copy(self, console: Console) -> int:
        """Make the new collection and copy until little is left that others write; how many items there are.

        Raises Conflict when others write as fast as this copies.
        """
        described = self._index.call("GET", self._old)
        self.state.begin_anew_without(self._new, self._index, self._path)
        self._index.call("PUT", self._new, self._settings(described))
        columns = (TextColumn(f"move to {self.state.new}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("move", total=described["count"], completed=count(self._index, self._new))
            follow(self.state.old, lambda: self._round(lambda copied: progress.advance(task, copied)))
        delete_what_is_gone(self._index, self._old, self._new)
        return count(self._index, self._new)

    def _round(self, copied: Callable[[int], None]) -> None:
        for page in written_since(self._index, self._old, self.state.since, f"limit={PAGE}"):
            self._bring(page)
            copied(len(page))

    def _settings(self, described: Json) -> Json:
        wanted = {name: described[name] for name in _SETTINGS if described.get(name) is not None}
        engine = described["engine"]
        if engine in _ENGINES.get(self._store, (engine,)) and "factory" not in described:
            wanted["engine"] = engine
        return {**wanted, "store": self._store}

    def complete(self, alias: str | None) -> None:
        """Bring over the rest while nobody writes, compare, and point the alias, if any, to the new collection.

        Raises Conflict where both are not alike, and where the alias leads elsewhere by now.
        """
        sample = sampled(ids(self._index, self._old), _SAMPLE)
        with WriteHold(self._index, self._old, f"move to {self.state.new}") as hold:
            self._round(lambda _: None)
            if count(self._index, self._old) != count(self._index, self._new):
                delete_what_is_gone(self._index, self._old, self._new)
            self._compare(sample)
            if alias is not None:
                check_alias(self._index, alias, self.state.old, self.state.new)
                hold.check()
                self._index.call("PUT", f"/aliases/{quoted(alias)}", {"collection": self.state.new})
                hold.tell_all()

    def _compare(self, sample: Sequence[str]) -> None:
        """Counts, and some items bit for bit. What was written is all copied, so that equal counts are equal ids."""
        old, new = (count(self._index, collection) for collection in (self._old, self._new))
        differing = [id_ for id_ in sample if self._item(self._old, id_) != self._item(self._new, id_)]
        if old != new or differing:
            self.state.since = 0
            self.state.save(self._path)  # the next run copies all of it
            raise Conflict(
                f"{self.state.old} and {self.state.new} are not alike: {old} and {new} items, and {len(differing)} of "
                f"{len(sample)} that were compared differ. Does something else write to {self.state.new}? Run again"
            )

    def _bring(self, page: list[Json]) -> None:
        body = {"from": self.state.old, "ids": [item["id"] for item in page]}
        self._index.call("POST", f"{self._new}/items/copy", body)  # one that is gone by now is deleted later
        self.state.since = page[-1]["seq"]
        self.state.save(self._path)

    def _item(self, collection: str, id_: str) -> Json | None:
        return item_of(self._index, collection, id_, "vector,source")
