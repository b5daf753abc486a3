"""The configuration as the parts get it, each value with where it came from: environment > file > defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from clip_core.old_names.taking import as_given, names_of
from clip_core.setting_checks import faults
from clip_core.settings import HandlerSettings
from scripts.config.config_file import ConfigFile, Json
from scripts.config.keys import PARTS, Key, keys
from scripts.config.sources import settings_of
from scripts.config.yaml_file import ConfigError

_MASK = "**********"
_MODELS = "CLIPSERVE_MODEL"


@dataclass(frozen=True)
class Layered:
    """`source`: environment, file or default; `where`: the variable, or the line of the file."""

    value: Any
    source: str
    where: str | None = None


def layered(file: ConfigFile) -> dict[Key, Layered]:
    """Every key. Raises ConfigError when the layers make no sense together."""
    values = {part: _values(part, file) for part in (*PARTS, "handlers")}
    return {key: _one(key, values[key.part][key.setting], file) for key in keys().values()}


def models(file: ConfigFile) -> Layered:
    """Those that the environment names are the only ones."""
    if file.models is not None and not _named(_MODELS):
        return Layered(file.models, "file", file.document.where(("models",)))
    named = [{"source": source} for source in _values("up", file)["model"]]
    return Layered(named, "environment", _MODELS) if _named(_MODELS) else Layered(named, "default")


def as_json(file: ConfigFile) -> Json:
    """Section → key → value and source."""
    made: Json = {"models": asdict(models(file))}
    if file.batching:
        made["batching"] = asdict(Layered(file.batching, "file", file.document.where(("batching",))))
    for key, each in layered(file).items():
        made.setdefault(key.section, {})[key.name] = asdict(each)
    return made


def _one(key: Key, value: Any, file: ConfigFile) -> Layered:
    shown = (_MASK if value else value) if key.secret else value
    if named := _named(key.variable):
        return Layered(shown, "environment", named)
    if key.variable in file.variables:
        return Layered(shown, "file", file.where(key))
    return Layered(shown, "default")


def _named(variable: str) -> str | None:
    """By which of its names the environment has it: the new one wins."""
    given = names_of(variable) & {name.upper() for name in os.environ}
    return variable if variable in given else next(iter(sorted(given)), None)


def _values(part: str, file: ConfigFile) -> Mapping[str, Any]:
    """Setting → value as JSON has it."""
    try:
        if part == "handlers":
            given = {name.upper() for name in os.environ}
            of_file = {name: value for name, value in file.variables.items() if not names_of(name) & given}
            return vars(HandlerSettings.from_env({**of_file, **os.environ}))
        return settings_of(part, file.variables, environment=True).model_dump(mode="json")
    except ValidationError as error:
        prefix = PARTS[part].model_config["env_prefix"]
        raise ConfigError(faults(error, lambda name: as_given(f"{prefix}{name.upper()}", os.environ))) from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
