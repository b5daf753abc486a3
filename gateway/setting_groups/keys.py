"""API keys, their limits, and the databases that several gateways share."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator, model_validator

from clip_core.secret_files import SettingsOrFiles
from gateway.database.postgres import check_database_url
from gateway.keys.api_key import KeyLimits
from gateway.keys.quotas import check_redis_url
from gateway.setting_groups.types import File


class KeySettings(SettingsOrFiles):
    """Who may call, and how much."""

    api_keys: SecretStr = Field(SecretStr(""), description="Accepted API keys, comma separated; empty: none.")
    keys_file: File = Field(None, description="File of keys that `clipserve keys` writes; `up`: data/keys.db.")
    requests_per_minute: int | None = Field(None, gt=0, description="Requests a minute of a key; its own limit wins.")
    items_per_minute: int | None = Field(None, gt=0, description="Texts, images and vectors a minute of a key.")
    megapixels_per_minute: int | None = Field(None, gt=0, description="Megapixels of images a minute of a key.")
    key_concurrency: int | None = Field(None, gt=0, description="Requests that a key may have under way.")
    redis_url: SecretStr = Field(
        SecretStr(""), description="Redis in which replicas count limits; empty: each its own."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL in which gateways share keys, jobs and spending: `postgresql://…`; empty: own files.",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        check_redis_url(value.get_secret_value())
        return value

    @field_validator("database_url")
    @classmethod
    def _is_database(cls, value: SecretStr) -> SecretStr:
        check_database_url(value.get_secret_value())
        return value

    @field_validator("api_keys")
    @classmethod
    def _holds_a_key(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _words(value):
            raise ValueError("holds no key; leave it out to have none")
        if not all(re.fullmatch("[!-~]+", word) for word in _words(value)):
            raise ValueError("keys have printable ASCII letters only, and no spaces: no header could carry others")
        return value

    @model_validator(mode="after")
    def _keys_in_one_place(self) -> KeySettings:
        if self.keys_file is not None and self.database_url.get_secret_value():
            raise ValueError("keys_file and database_url exclude each other: with a database, keys are in it")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The accepted API keys."""
        return _words(self.api_keys)

    def key_limits(self) -> KeyLimits:
        """Those of keys that do not bring their own."""
        return KeyLimits(
            self.requests_per_minute, self.items_per_minute, self.megapixels_per_minute, self.key_concurrency
        )


def _words(secret: SecretStr) -> tuple[str, ...]:
    return tuple(word.strip() for word in secret.get_secret_value().split(",") if word.strip())
