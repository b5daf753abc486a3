"""What `up` is asked to serve: models as they were named, and settings of their endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.stack.endpoint_overrides import Overrides
from scripts.stack.up_settings import UpSettings


@dataclass(frozen=True)
class AskedModel:
    """`given` replaces the model's own settings; `batching` is instead of that of all models, which it has in it."""

    source: str
    checkpoint: Path | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    batching: Overrides | None = None


@dataclass(frozen=True)
class Asked:
    """The first of `models` is the default; `batching` is of all that have none of their own."""

    models: Sequence[AskedModel]
    batching: Overrides = field(default_factory=dict)

    @classmethod
    def of(cls, settings: UpSettings, batching: Overrides | None = None) -> Asked:
        """The models that the settings name; a checkpoint, and what goes with it, are the first one's."""
        first = [AskedModel(source, settings.checkpoint, settings.given) for source in settings.model[:1]]
        further = [AskedModel(source, None, settings.given_to_all) for source in settings.model[1:]]
        return cls([*first, *further], batching or {})
