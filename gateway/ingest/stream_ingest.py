"""The lines of an NDJSON stream → a collection, batch by batch; what fails is counted, and the first of it shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clip_core.errors import ClipServeError
from gateway.ingest.ingester import Ingester
from gateway.ingest.items import parse_items
from gateway.ingest.ndjson import Line
from gateway.inputs.parser import InputParser

MAX_SHOWN = 1000


@dataclass
class StreamReport:
    """What became of the lines so far."""

    received: int = 0
    added: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)

    def note(self, line: Line, result: dict[str, Any]) -> None:
        self.received += 1
        if result["status"] < 300:
            self.added += 1
            if "warning" in result and len(self.warnings) < MAX_SHOWN:
                self.warnings.append({"line": line.number, **result})
        elif len(self.errors) < MAX_SHOWN:
            self.errors.append({"line": line.number, **result})

    def answer(self) -> dict[str, Any]:
        """Warnings only where there are some."""
        told = {name: value for name, value in vars(self).items() if value or name != "warnings"}
        return {**told, "failed": self.received - self.added}


async def ingest_lines(
    batches: AsyncIterator[list[Line]], collection: str, ingester: Ingester, parser: InputParser
) -> StreamReport:
    """Raises what concerns the whole collection; the lines before it are in."""
    tally = StreamReport()
    async for batch in batches:
        for line, result in zip(batch, await _results(batch, collection, ingester, parser), strict=True):
            tally.note(line, result)
    return tally


async def _results(
    batch: Sequence[Line], collection: str, ingester: Ingester, parser: InputParser
) -> list[dict[str, Any]]:
    good = [line for line in batch if not isinstance(line.value, ClipServeError)]
    items = parse_items({"items": [line.value for line in good]}, parser, len(good)) if good else []
    for line, item in zip(good, items, strict=True):
        item.at = f"line {line.number}"
    added = iter(await ingester.add(collection, items))
    return [_failed(line.value) if isinstance(line.value, ClipServeError) else next(added) for line in batch]


def _failed(error: ClipServeError) -> dict[str, Any]:
    return {"id": None, "status": error.status, **error.to_dict()}
