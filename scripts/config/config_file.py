"""A configuration file as it was checked: what it says, and the environment variables that carry it to the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.config.checks import given, nonsense, open_to_strangers, refused_by_parts, wrong_types
from scripts.config.keys import Key
from scripts.config.old_keys import notices as old_names
from scripts.config.old_keys import with_new_keys
from scripts.config.secret_files import is_open, read_secret
from scripts.config.yaml_file import ConfigError, Document, read

Json = dict[str, Any]


@dataclass(frozen=True)
class ConfigFile:
    """`variables`: environment variable → its value, as text; `notices`: what is no fault and should be known."""

    document: Document
    variables: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def models(self) -> list[Json] | None:
        """Each with `source` at least; None: the file does not say."""
        given = self.document.values.get("models")
        return None if given is None else [{"source": each.get("name"), **each} for each in given]

    @property
    def batching(self) -> dict[str, Json]:
        """Kind of endpoint → keys of its YAML."""
        return _kinds(self.document.values)

    def batching_of(self, model: Json) -> dict[str, Json]:
        """The same for one of `models`, whose own keys win."""
        own = _kinds(model)
        return {kind: {**self.batching.get(kind, {}), **own.get(kind, {})} for kind in {**self.batching, **own}}

    def where(self, key: Key) -> str | None:
        """`clipserve.yaml:12`, when the file gives it."""
        place = (key.section, key.name)
        return self.document.where(place) if place in self.document.lines else None


def _kinds(section: Json) -> dict[str, Json]:
    return {kind: dict(each) for kind, each in (section.get("batching") or {}).items() if each}


def load(path: Path, *, alone: bool = False) -> ConfigFile:
    """Read and check it. Raises ConfigError, with a line for each fault.

    `alone`: no option will be given beside it, so that an address without keys is a fault.
    """
    as_written = read(path)
    document = with_new_keys(as_written)
    _refuse(list(wrong_types(document)))
    found = list(nonsense(document))
    file = ConfigFile(document, {key.variable: _text(document, key, value) for key, value in given(document)})
    lines = {line for line, _ in found}
    found += [each for each in refused_by_parts(document, file.variables) if each[0] not in lines]
    _refuse([*found, *(open_to_strangers(document, file.variables) if alone else ())])
    return ConfigFile(document, file.variables, (*old_names(as_written), *_notices(file)))


def _refuse(faults: list[tuple[int, str]]) -> None:
    if faults:
        raise ConfigError(*(text for _, text in sorted(faults)))


def _text(document: Document, key: Key, value: Any) -> str:
    if key.secret:
        return read_secret(document.where((key.section, key.name)), key, Path(value))
    return as_text(value)


def as_text(value: object) -> str:
    """As the environment has it: `true`, `80,443`, `photos=/srv/photos,…`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(as_text, value))
    if isinstance(value, dict):
        return ",".join(f"{name}={as_text(each)}" for name, each in value.items())
    return str(value)


def _notices(file: ConfigFile) -> list[str]:
    secrets = [(key, Path(value)) for key, value in given(file.document) if key.secret]
    text = "other users can read that file: `chmod 600` it"
    return [f"{file.where(key)}: {key}: {text}" for key, path in secrets if is_open(path)]
