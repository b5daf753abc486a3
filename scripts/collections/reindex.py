"""A collection made again with the model that is served now, then put in the old one's place behind an alias.

Items are read from the old collection in the order of writing and embedded from their recorded source, from a file, or
from the picture that the gateway shows of them.
What is written or deleted meanwhile is followed, until little is left. Then writes are held back for a moment, and the
alias is switched. Progress is kept in a file, so that a second run goes on where the first one stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from clip_core.errors import BadInput, Conflict, UnknownCollection
from clipserve_client import Collection, Limits, NewItem, Result, Tally
from clipserve_client.calls.calls import quoted
from clipserve_client.sources.files import Skip, read
from clipserve_client.sources.preparing import prepared
from scripts.collections.listed_items import Api, check_alias, count, delete_what_is_gone, item_of, written_since
from scripts.collections.rounds import follow
from scripts.collections.write_hold import WriteHold

BATCH = 32
Json = dict[str, Any]


class Gateway(Protocol):
    """What is used of `clipserve_client.Client`."""

    def create_collection(self, name: str, **settings: Any) -> Collection: ...

    def limits(self) -> Limits: ...

    def ingest(
        self, collection: str, items: Iterable[NewItem | Result], *, on_result: Callable[[Result], object]
    ) -> Tally: ...


@dataclass
class State:
    """How far it got: all items up to the number `since` are done, but for those in `failed` (id → why)."""

    old: str
    new: str
    since: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, old: str, new: str) -> State:
        """Raises BadInput when the file is about other collections, or about none."""
        try:
            state = cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls(old, new)
        except (OSError, ValueError, TypeError) as error:
            raise BadInput(f"{path} is no progress of a reindexing: name another file") from error
        if (state.old, state.new) != (old, new):
            raise BadInput(f"{path} is the progress of {state.old} → {state.new}: remove it, or name another file")
        return state

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(path)

    def begin_anew_without(self, new: str, index: Api, path: Path) -> None:
        """Where the collection at `new` is not there, nothing is done: somebody has deleted it since it was begun."""
        try:
            index.call("GET", new)
        except UnknownCollection:
            self.since, self.failed = 0, {}
            self.save(path)


class Reindex:
    """`gateway` embeds with the new model, `index` is asked for items.

    `images` holds files named by ids; `kept` gives the picture of an item that the gateway keeps, or None.
    """

    def __init__(
        self,
        gateway: Gateway,
        index: Api,
        path: Path,
        state: State,
        images: Path | None = None,
        kept: Callable[[str], bytes | None] = lambda _: None,
    ) -> None:
        self._gateway, self._index, self._kept = gateway, index, kept
        self._path, self.state, self._images = path, state, images
        self._old, self._new = (f"/collections/{quoted(name)}" for name in (state.old, state.new))

    def copy(self, console: Console) -> None:
        """Make the new collection, embed what is due, again what failed, until little is left that others write.

        Raises Conflict when others write faster than this embeds.
        """
        described = self._index.call("GET", self._old)
        kept = ("metric", "engine", "factory", "recall_target", "store")
        wanted = {name: described[name] for name in kept if described.get(name)}
        self.state.begin_anew_without(self._new, self._index, self._path)
        self._gateway.create_collection(self.state.new, **wanted)
        columns = (TextColumn(f"reindex {self.state.new}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("reindex", total=described["count"], completed=count(self._index, self._new))
            self._add(self._again())
            follow(self.state.old, lambda: self._round(progress, task))
        delete_what_is_gone(self._index, self._old, self._new)

    def switch(self, alias: str) -> None:
        """Bring over what was written to the old collection while nobody writes, and point the alias to the new one.

        Raises Conflict where the new one lacks items that did not fail, where that takes too long, and where the alias
        leads elsewhere by now.
        """
        with WriteHold(self._index, self._old, f"reindex to {self.state.new}") as hold:
            for page in self._written():
                self._pass(page)
            if self._missing():
                delete_what_is_gone(self._index, self._old, self._new)
            if (missing := self._missing()) > 0:
                raise Conflict(
                    f"{missing} items of {self.state.old} are not in {self.state.new}, and did not fail: was it "
                    f"written to, or {self.state.old} made again? Remove {self._path}, and run again"
                )
            check_alias(self._index, alias, self.state.old, self.state.new)
            hold.check()
            self._index.call("PUT", f"/aliases/{quoted(alias)}", {"collection": self.state.new})
            hold.tell_all()

    def _missing(self) -> int:
        """Of the new collection, by the counts; below 0 where it has more."""
        return count(self._index, self._old) - count(self._index, self._new) - len(self.state.failed)

    def _round(self, progress: Progress, task: TaskID) -> None:
        for page in self._written():
            self._pass(page)
            progress.advance(task, len(page))

    def _written(self) -> Iterator[list[Json]]:
        return written_since(self._index, self._old, self.state.since, f"limit={BATCH}&include=source")

    def _pass(self, page: list[Json]) -> None:
        self._add(page)
        self.state.since = page[-1]["seq"]
        self.state.save(self._path)

    def _again(self) -> Iterator[Json]:
        """The items that failed in an earlier run, as they are now."""
        for id_ in list(self.state.failed):
            item = item_of(self._index, self._old, id_, "source")
            if item is None:
                del self.state.failed[id_]
            else:
                yield item

    def _add(self, items: Iterable[Json]) -> None:
        self._gateway.ingest(self.state.new, map(self._renewed, items), on_result=self._note)

    def _note(self, result: Result) -> None:
        self.state.failed.pop(result.id, None)
        if result.outcome != "added":
            self.state.failed[result.id] = result.message

    def _renewed(self, item: Json) -> NewItem | Result:
        """To be embedded from its recorded text or URL, the file that has its name, or the picture kept of it."""
        id_, source, metadata = item["id"], item["source"], item["metadata"]
        if source is not None and ("text" in source or source["image"].startswith(("http://", "https://"))):
            return NewItem(id_, text=source.get("text"), image=source.get("image"), metadata=metadata)
        original = metadata.get("original_file")
        read_from = original.get("path") if isinstance(original, dict) else None
        names = [source["image"] if source else None, read_from, metadata.get("file"), id_]
        file = next((path for name in names if (path := self._file(name)) is not None), None)
        try:
            picture = read(str(file))[0] if file else self._kept(id_)
            content = prepared(picture, self._gateway.limits(), gps=False).content if picture else None
        except Skip as skip:
            return Result(id_, "skipped", skip.reason, f"{skip.reason} {skip.message}".strip())
        if content is None:
            return Result(
                id_, "skipped", "no source", "no source is recorded, no file has its name, no picture is kept"
            )
        return NewItem(id_, image=content, metadata=metadata)

    def _file(self, name: object) -> Path | None:
        """The file below `images`, and never one outside of it."""
        if self._images is None or not isinstance(name, str) or "\0" in name:
            return None
        try:
            path = (self._images / name).resolve()
            return path if path.is_relative_to(self._images.resolve()) and path.is_file() else None
        except (OSError, RuntimeError):  # longer than a file's name may be, or a loop of links
            return None
