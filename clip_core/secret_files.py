"""Settings by their old names, and as files, as Docker and Kubernetes mount secrets: `clipserve_gateway_api_keys`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsError,
)

from clip_core.old_names.table import OLD_SETTINGS
from clip_core.old_names.taking import as_given, names_of, told_as, with_new_variables
from clip_core.setting_checks import no_setting

FOLDER = Path("/run/secrets")
_OURS = "clipserve_"
_NEAR = 0.85  # of a name whose prefix is misspelt, too


def by_old_names(source: PydanticBaseSettingsSource) -> PydanticBaseSettingsSource:
    """The environment, with what has an old name under its new one; any other source as it is."""
    if isinstance(source, EnvSettingsSource):
        source.env_vars = with_new_variables(source.env_vars)
    return source


class SettingsByOldNames(BaseSettings):
    """Variables of the environment may have their old names."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, by_old_names(env_settings), dotenv_settings


class SettingsOrFiles(SettingsByOldNames):
    """A variable of the environment wins over the file of its name, in small letters."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = super().settings_customise_sources(
            settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
        )
        if not FOLDER.is_dir():
            return given
        old = InitSettingsSource(settings_cls, _old_files(settings_cls.model_config.get("env_prefix", "")))
        return (*given, SecretsSettingsSource(settings_cls, secrets_dir=FOLDER), old)


def strange_files(prefix: str, fields: Mapping[str, FieldInfo]) -> list[str]:
    """A line on each file that has an old name, or looks like one of these settings, and is none."""
    old = _by_old_names(prefix)
    told = [f"{path} is an old name: write {prefix.lower()}{new}" for new, path in old.items()]
    known = [f"{prefix}{name}".lower() for name in fields]
    secrets = {name for name, field in fields.items() if field.annotation is SecretStr}
    strange = [path for path in _files() if path.name.lower() not in known and path not in old.values()]
    meant = {path: _meant(path.name, prefix.lower(), known, secrets) for path in strange}
    return [*told, *(no_setting(str(path), near) for path, near in meant.items() if near is not None)]


def unread_files(prefix: str) -> list[str]:
    """A line on each file that looks like a setting of what reads no files."""
    unread = [path for path in _files() if _plain(path.name).startswith(prefix.lower())]
    return [f"{path} is not read: set the variable {_plain(path.name).upper()}" for path in unread]


def _meant(name: str, prefix: str, known: Sequence[str], secrets: Collection[str]) -> list[str] | None:
    """The setting that it may stand for, if any is near; None for what is not meant for this service."""
    plain = _plain(name)
    if plain.startswith(prefix):
        return difflib.get_close_matches(plain, known, 1)
    if plain in secrets:
        return [f"{prefix}{plain}"]
    others = (each.lower() for each in OLD_SETTINGS if each.lower() != _OURS)
    if not plain.startswith(_OURS) or plain.startswith(tuple(others)):
        return None
    return difflib.get_close_matches(plain, known, 1, _NEAR) or None


def _plain(name: str) -> str:
    """Secrets of Kubernetes often have dashes or dots."""
    return name.lower().replace("-", "_").replace(".", "_")


def _files() -> list[Path]:
    try:
        return sorted(path for path in FOLDER.iterdir() if os.path.isfile(path))
    except OSError:  # there is none, or it may not be read
        return []


def variable_as_given(prefix: str, field: str, environ: Iterable[str]) -> str:
    """A setting's variable, with the old name of the variable or of the file that gives it."""
    variable, given = f"{prefix}{field.upper()}", {name.upper() for name in environ}
    file = _by_old_names(prefix).get(field)
    if file is None or names_of(variable) & given or (FOLDER / variable.lower()).is_file():
        return as_given(variable, given)
    return told_as(variable, str(file))


def _old_files(prefix: str) -> dict[str, str]:
    """Setting → content of the file that has its old name."""
    return {new: _content(path) for new, path in _by_old_names(prefix).items()}


def _by_old_names(prefix: str) -> dict[str, Path]:
    files = {path.name.lower(): path for path in _files()}
    old = {f"{prefix}{name}".lower(): new for name, new in OLD_SETTINGS.get(prefix, {}).items()}
    return {old[name]: path for name, path in files.items() if name in old}


def _content(path: Path) -> str:
    """Raises SettingsError for a file that may not be read, as of one by its new name."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the file {path} can't be read") from error
