"""The models that `up` builds and serves, and the file that tells the gateway of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.models.rows import ModelRow
from scripts.archive.build import captions_of, model_name
from scripts.models.row_store import DEFAULT_PREFIX, FILE, RowStore, by_kind, row
from scripts.processes.preflight import StackStartError
from scripts.stack.asked import AskedModel
from scripts.stack.endpoint_overrides import Overrides


@dataclass(frozen=True)
class UpModel:
    """A model as it was asked for, and as it is served."""

    source: str
    row: ModelRow
    checkpoint: Path | None = None
    given: Mapping[str, Any] = field(default_factory=dict)  # what replaces the model's own settings
    batching: Overrides | None = None

    @property
    def prefix(self) -> str:
        """Of the names of its endpoints."""
        return DEFAULT_PREFIX if self.row.default else self.row.name


def models_of(asked: Sequence[AskedModel], *, captions: bool = True) -> list[UpModel]:
    """In the same order, the default first; without `captions` no captioner is served.

    Raises BadModel, or StackStartError for two of one name.
    """
    found = [_model(each, default=place == 0, captions=captions) for place, each in enumerate(asked)]
    for name, times in Counter(each.row.name for each in found).items():
        if times > 1:
            raise StackStartError(f"two models are named {name!r}: name each once (--model)")
    return found


def _model(asked: AskedModel, *, default: bool, captions: bool) -> UpModel:
    name = model_name(asked.source, asked.checkpoint, **asked.given)
    captions = captions and captions_of(asked.source, asked.checkpoint, **asked.given)
    return UpModel(
        asked.source, row(name, default=default, captions=captions), asked.checkpoint, asked.given, asked.batching
    )


def row_store(folder: Path) -> RowStore:
    """Of a stack's data folder."""
    return RowStore(folder / FILE)


def write_rows(
    rows: RowStore, models: Sequence[UpModel], model_store: Path, notice: Callable[[str], object]
) -> tuple[ModelRow, ...]:
    """The models of `up`, and those that were added to the stack before and still have their archives.

    Raises BadModel when the file that is there makes no sense.
    """
    own = [each.row for each in models]
    served = list(own)
    for each in rows.read():
        if each.added and not _clashes(each, own):
            if all((model_store / f"{endpoint}.mar").exists() for endpoint in by_kind(each).values()):
                served.append(each)
            else:
                notice(f"{each.name} is served no more: its archives are gone from {model_store}; add it again")
    rows.write(served)
    return tuple(served)


@dataclass(frozen=True)
class Batching:
    """Settings of endpoints: `own` by the model's name, and those of all other models."""

    of_all: Overrides = field(default_factory=dict)
    own: Mapping[str, Overrides] = field(default_factory=dict)

    @classmethod
    def of(cls, models: Sequence[UpModel], of_all: Overrides) -> Batching:
        return cls(of_all, {each.row.name: each.batching for each in models if each.batching is not None})

    def by_endpoint(self, rows: Sequence[ModelRow]) -> dict[str, Mapping[str, Any]]:
        """Endpoint → the keys that are not the archive's own; every endpoint is there."""
        kinds = [(each.name, *pair) for each in rows for pair in by_kind(each).items()]
        return {endpoint: self.own.get(name, self.of_all).get(kind, {}) for name, kind, endpoint in kinds}


def _clashes(added: ModelRow, own: Sequence[ModelRow]) -> bool:
    """What `up` serves itself replaces what was added under the same name."""
    taken = {endpoint for each in own for endpoint in by_kind(each).values()}
    return added.name in {each.name for each in own} or bool(taken & set(by_kind(added).values()))
