"""Settings by their old names, and as files, as Docker and Kubernetes mount secrets: `clipserve_gateway_api_keys`."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsError,
)

from clip_core.old_names.table import OLD_SETTINGS
from clip_core.old_names.taking import with_new_variables

FOLDER = Path("/run/secrets")


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


def old_files(prefix: str) -> list[str]:
    """A line on each file that has an old name."""
    return [f"{path} is an old name: write {prefix.lower()}{new}" for new, path in _by_old_names(prefix).items()]


def _old_files(prefix: str) -> dict[str, str]:
    """Setting → content of the file that has its old name."""
    return {new: _content(path) for new, path in _by_old_names(prefix).items()}


def _by_old_names(prefix: str) -> dict[str, Path]:
    files = {new: FOLDER / f"{prefix}{old}".lower() for old, new in OLD_SETTINGS.get(prefix, {}).items()}
    return {new: path for new, path in files.items() if path.is_file()}


def _content(path: Path) -> str:
    """Raises SettingsError for a file that may not be read, as of one by its new name."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the file {path} can't be read") from error
