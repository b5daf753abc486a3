"""The gateway's settings, read once from the environment: `CLIPSERVE_GATEWAY_PORT=9000`, and so on.

`gateway/setting_groups/` has a class for each group of them; here is what they are together.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from clip_core.secret_files import strange_files, variable_as_given
from clip_core.setting_checks import bounded, unknown_names
from gateway.fetch.limits import FetchLimits
from gateway.setting_groups.clients import ClientSettings
from gateway.setting_groups.fetching import FetchSettings
from gateway.setting_groups.jobs import JobSettings
from gateway.setting_groups.keys import KeySettings
from gateway.setting_groups.llm import LlmSettings
from gateway.setting_groups.pictures import PictureSettings
from gateway.setting_groups.places import PlaceSettings
from gateway.setting_groups.sending import SendingSettings

PREFIX = "CLIPSERVE_GATEWAY_"


class GatewaySettings(
    LlmSettings,
    JobSettings,
    FetchSettings,
    PictureSettings,
    SendingSettings,
    ClientSettings,
    KeySettings,
    PlaceSettings,  # the last one's are the first in docs/settings.md
):
    """Every field is an environment variable; see each description for what it changes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    log_json: bool = Field(False, description="Log JSON lines instead of text.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    @field_validator("*")
    @classmethod
    def _is_bounded(cls, value: object) -> object:
        return bounded(value)

    @model_validator(mode="after")
    def _closed_unless_local(self) -> GatewaySettings:
        if not self.keys and not self._may_hold_keys() and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reachable from other machines and there are no API keys: "
                "set CLIPSERVE_GATEWAY_API_KEYS, make one with `clipserve keys create`, or listen on 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _whole_tls(self) -> GatewaySettings:
        for name, path in (("tls_certificate", self.tls_certificate), ("tls_key", self.tls_key)):
            if path is not None and not os.path.isfile(path):
                raise ValueError(f"{environment_name(name)}: there is no file {path}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @staticmethod
    def unknown_names() -> list[str]:
        """A line on each variable or file that has an old name, or looks like a setting of the gateway, and is none."""
        return [
            *unknown_names(os.environ, PREFIX, GatewaySettings.model_fields),
            *strange_files(PREFIX, GatewaySettings.model_fields),
        ]

    def _may_hold_keys(self) -> bool:
        """A file, or a database: without keys in it a gateway that other machines reach admits nobody."""
        in_file = self.keys_file is not None and os.path.isfile(self.keys_file)  # False, too, where it may not look
        return in_file or bool(self.database_url.get_secret_value())

    def fetch_limits(self) -> FetchLimits:
        """What one fetch may take."""
        return FetchLimits(
            max_bytes=self.max_image_bytes,
            max_pixels=self.max_image_pixels,
            timeout_s=self.fetch_timeout_s,
            max_redirects=self.fetch_max_redirects,
            concurrency=self.fetch_concurrency,
        )


def environment_name(field: str) -> str:
    """Of the variable that gives it, as errors name it."""
    return variable_as_given(PREFIX, field, os.environ)


def is_loopback(host: str) -> bool:
    """True for localhost and the loopback addresses; a name that must be resolved is not trusted."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
