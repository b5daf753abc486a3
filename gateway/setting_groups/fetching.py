"""Pictures by URL: from where they may be fetched, and within which limits."""

from __future__ import annotations

from pydantic import Field, field_validator

from clip_core.secret_files import SettingsOrFiles
from gateway.fetch.addresses import AddressPolicy
from gateway.inputs.urls import UrlPolicy
from gateway.setting_groups.types import Hosts, Numbers, Words


class FetchSettings(SettingsOrFiles):
    """Of fetches, which are off by default."""

    fetch_urls: bool = Field(False, description="Fetch images that requests name by http(s) URL.")
    fetch_hosts: Hosts = Field((), description="Hosts fetched from: `img.example.org,*.example.net`; empty: any.")
    fetch_ports: Numbers = Field((80, 443), description="Ports fetched from.")
    fetch_networks: Words = Field((), description="Private networks fetched from all the same: `10.1.0.0/16`.")
    fetch_timeout_s: float = Field(10.0, gt=0, description="How long fetching one image may take, redirects included.")
    fetch_max_redirects: int = Field(
        3, ge=0, description="Most redirects followed; each is checked like the first URL."
    )
    fetch_concurrency: int = Field(16, gt=0, description="Images fetched at once.")
    max_image_pixels: int = Field(
        64_000_000, gt=0, description="Most pixels of a fetched image; more is a 413. Thumbnails too."
    )

    @field_validator("fetch_ports")
    @classmethod
    def _are_ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 < port < 65536 for port in value):
            raise ValueError("must be ports from 1 to 65535: `80,443`")
        return value

    @field_validator("fetch_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        AddressPolicy(value)  # raises ValueError that names the one at fault
        return value

    def url_policy(self) -> UrlPolicy:
        """Which URLs may be fetched, by their own words."""
        return UrlPolicy(self.fetch_hosts, self.fetch_ports)

    def address_policy(self) -> AddressPolicy:
        """Which addresses may be connected to for that."""
        return AddressPolicy(self.fetch_networks)
