"""Settings that may also be files, as Docker and Kubernetes mount secrets: `clipserve_gateway_api_keys` in FOLDER."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource

FOLDER = Path("/run/secrets")


class SettingsOrFiles(BaseSettings):
    """A variable of the environment wins over the file of its name, in small letters."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings, env_settings, dotenv_settings
        return (*given, SecretsSettingsSource(settings_cls, secrets_dir=FOLDER)) if FOLDER.is_dir() else given
