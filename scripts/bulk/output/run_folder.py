"""What a run writes, by its names, and that it is of this run.

`_bulk/run.json` says what was asked for, `_bulk/shards.jsonl` how the source was cut, `_bulk/done/NNNNN.json` what
became of a shard. Files appear whole; `done` comes last. So a shard without it is written again as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scripts.bulk.output.opening import open_place
from scripts.bulk.output.place import OutputPlace, read_all, write_text
from scripts.bulk.shards.errors import BulkFailed, BulkRefused
from scripts.bulk.shards.shard import Done, Shard, read_done, read_shard

BAD, DUPLICATES, SUMMARY = "bad.parquet", "duplicates.parquet", "summary.html"
_ABOUT, _RUN, _SHARDS = "_bulk", "_bulk/run.json", "_bulk/shards.jsonl"
Json = dict[str, Any]


class Output:
    """Names below `place`."""

    def __init__(self, place: OutputPlace) -> None:
        self.place = place

    @classmethod
    def at(cls, address: str, storage: Mapping[str, Any]) -> Output:
        return cls(open_place(address, storage))

    @staticmethod
    def part(shard: Shard) -> str:
        return f"part-{shard.name}.parquet"

    @staticmethod
    def bad(shard: Shard) -> str:
        return f"{_ABOUT}/bad/{shard.name}.parquet"

    @staticmethod
    def files(shard: Shard) -> str:
        return f"{_ABOUT}/files/{shard.name}.json"

    @staticmethod
    def done(shard: Shard) -> str:
        return f"{_ABOUT}/done/{shard.name}.json"

    @staticmethod
    def tries(shard: Shard) -> str:
        return f"{_ABOUT}/tries/{shard.name}"

    @staticmethod
    def sent(shard: Shard, collection: str) -> str:
        return f"{_ABOUT}/sent/{collection}/{shard.name}"

    # How the source was cut

    def read_shards(self) -> list[Shard]:
        """Raises BulkRefused."""
        content = self.place.read(_SHARDS)
        try:
            return [] if content is None else [read_shard(line) for line in content.decode().splitlines()]
        except (ValueError, TypeError):
            raise self._damaged(_SHARDS) from None

    def write_shards(self, shards: Iterable[Shard]) -> None:
        with self.place.writing(_SHARDS) as file:
            file.writelines(f"{shard.line()}\n".encode() for shard in shards)

    def read_files(self, shard: Shard) -> list[Json]:
        """Of a shard of files. Raises BulkRefused."""
        return self._files(shard, self.place.read(self.files(shard)))

    def read_all_files(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, list[Json]]]:
        """Raises BulkRefused."""
        of_files = [shard for shard in shards if shard.kind == "files"]
        contents = read_all(self.place, map(self.files, of_files))
        for shard, content in zip(of_files, contents, strict=True):
            yield shard, self._files(shard, content)

    def write_files(self, shard: Shard, files: list[Json]) -> None:
        write_text(self.place, self.files(shard), json.dumps(files))

    def _files(self, shard: Shard, content: bytes | None) -> list[Json]:
        try:
            listed: list[Json] = json.loads(content or b"")
        except ValueError:
            raise self._damaged(self.files(shard)) from None
        return listed

    # What became of it

    def read_done(self, shard: Shard) -> Done | None:
        return _done(self.place.read(self.done(shard)))

    def read_all_done(self, shards: Iterable[Shard]) -> dict[int, Done]:
        """Of each shard that is done as it is now, by its number; one whose vectors were removed is done no more."""
        there = self.place.names(f"{_ABOUT}/done")
        known = [shard for shard in shards if f"{shard.name}.json" in there]
        contents = read_all(self.place, map(self.done, known))
        told = [(shard, _done(content)) for shard, content in zip(known, contents, strict=True)]
        fresh = [(shard, done) for shard, done in told if done is not None and done.version == shard.version]
        written = self.place.names("") | self.place.names("metadata")
        lost = {shard for shard, done in fresh if done.rows and self._vectors(shard).isdisjoint(written)}
        for shard in lost:
            self.place.remove(self.done(shard))
        return {shard.number: done for shard, done in fresh if shard not in lost}

    def _vectors(self, shard: Shard) -> set[str]:
        """The file by which a shard's vectors are known, in either layout."""
        return {self.part(shard), f"metadata_{shard.name}.parquet"}

    # That it is of this run

    def begin(self, asked: Mapping[str, Any]) -> None:
        """Note what is asked for, or check that it is what was asked for before. Raises BulkRefused, BulkFailed."""
        try:
            if self.place.read(_SHARDS) is None:
                self._check_empty()
                write_text(self.place, _RUN, json.dumps(dict(asked), indent=2) + "\n")
                return
            self._check_same(asked, self.place.read(_RUN))
        except OSError as error:
            raise BulkFailed(f"{self.place.address} can't be read or written: {error.strerror}") from error

    def _check_same(self, asked: Mapping[str, Any], told: bytes | None) -> None:
        try:
            before = json.loads(told or b"")
        except ValueError:
            raise self._damaged(_RUN) from None
        differing = [name for name in asked if before.get(name) != asked[name]]
        if differing:
            how = "; ".join(f"{name} was {_shown(before.get(name))} and is {_shown(asked[name])}" for name in differing)
            address = self.place.address
            raise BulkRefused(f"{address} is of another run: {how}. Name another --out, or remove this one")

    def _check_empty(self) -> None:
        others = sorted(self.place.names("") - {_ABOUT})
        if others:
            raise BulkRefused(f"{self.place.address} is not empty, and of no run of `clipserve bulk`: {others[0]}")

    def _damaged(self, name: str) -> BulkRefused:
        address = self.place.address
        return BulkRefused(f"{address}/{name} is gone or damaged: remove {address}, and begin anew")

    def sweep(self) -> None:
        """Remove what an earlier run left unfinished."""
        self.place.sweep()
        for name in self.place.names(f"{_ABOUT}/tries"):
            self.place.remove(f"{_ABOUT}/tries/{name}")


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)


def _done(content: bytes | None) -> Done | None:
    try:
        return None if content is None else read_done(content.decode())
    except (ValueError, TypeError):
        return None
