"""The settings of a part, read from a file's values, and from the environment over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from clip_core.secret_files import by_old_names
from scripts.config.keys import PARTS, keys


def settings_of(part: str, variables: Mapping[str, str], *, environment: bool) -> BaseSettings:
    """`variables`: what the file gives, as environment variables. Raises ValidationError."""
    own = {key.setting: key.variable for key in keys().values() if key.part == part}
    file = {name: variables[variable] for name, variable in own.items() if variable in variables}
    host = {"host": "127.0.0.1"} if part == "gateway" else {}  # `up` gives it its own
    return _layers(PARTS[part], {**file, **host}, environment)()


def _layers(settings: type[BaseSettings], file: Mapping[str, str], environment: bool) -> type[BaseSettings]:
    class _Layers(settings):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic gives all by name
            env_settings: PydanticBaseSettingsSource,
            **_: Any,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            above = (by_old_names(env_settings),) if environment else ()
            return (*above, InitSettingsSource(settings_cls, dict(file)))

    return _Layers
