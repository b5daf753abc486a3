"""The models that `up` builds and serves, and the file that tells the gateway of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.models.rows import ModelRow
from scripts.archive.build import model_name
from scripts.models.archives import found_in
from scripts.models.row_store import DEFAULT_PREFIX, FILE, RowStore, row
from scripts.processes.preflight import StackStartError
from scripts.stack.up_settings import UpSettings


@dataclass(frozen=True)
class UpModel:
    """A model as it was asked for, and as it is served."""

    source: str
    row: ModelRow
    checkpoint: Path | None = None
    given: Mapping[str, Any] = field(default_factory=dict)  # what replaces the model's own settings

    @property
    def prefix(self) -> str:
        """Of the names of its endpoints."""
        return DEFAULT_PREFIX if self.row.default else self.row.name


def models_of(settings: UpSettings) -> list[UpModel]:
    """In the order of `--model`, the default first. Raises BadModel, or StackStartError for two of one name."""
    found = [_model(source, settings, default=place == 0) for place, source in enumerate(settings.model)]
    for name, times in Counter(each.row.name for each in found).items():
        if times > 1:
            raise StackStartError(f"two models are named {name!r}: name each once (--model)")
    return found


def _model(source: str, settings: UpSettings, *, default: bool) -> UpModel:
    checkpoint = settings.checkpoint if default else None
    given = settings.given if default else {"precision": settings.precision}
    name = model_name(source, checkpoint, **given)
    return UpModel(source, row(name, default=default), checkpoint, given)


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
            if all(mar.exists() for mar in found_in(model_store, each).values()):
                served.append(each)
            else:
                notice(f"{each.name} is served no more: its archives are gone from {model_store}; add it again")
    rows.write(served)
    return tuple(served)


def endpoint_files(rows: RowStore) -> dict[str, str]:
    """Endpoint → its archive in the model store, of all models that are served now."""
    return {endpoint: f"{endpoint}.mar" for each in rows.read() for endpoint in each.endpoints.all()}


def _clashes(added: ModelRow, own: Sequence[ModelRow]) -> bool:
    """What `up` serves itself replaces what was added under the same name."""
    taken = {endpoint for each in own for endpoint in each.endpoints.all()}
    return added.name in {each.name for each in own} or bool(taken & set(added.endpoints.all()))
