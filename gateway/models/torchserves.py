"""The TorchServes that models are on: for each address one client, and what requests wait for there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.admission.endpoints import EndpointAdmissions
from gateway.models.rows import ModelRow
from gateway.settings import GatewaySettings
from gateway.upstream.torchserve import TorchServeClient


@dataclass(frozen=True)
class TorchServeAddress:
    """Where its inference API, its management API and its metrics are; and its tokens, where it asks for some."""

    inference: str
    management: str
    metrics: str
    key_file: Path | None = None

    @classmethod
    def of(cls, row: ModelRow, settings: GatewaySettings) -> TorchServeAddress:
        """The gateway's own, unless the row names another."""
        if not row.torchserve_url:
            own = settings.torchserve_url, settings.management_url, settings.metrics_url
            return cls(*own, settings.torchserve_key_file)
        return cls(row.torchserve_url, row.management_url, row.metrics_url)


@dataclass(frozen=True)
class TorchServe:
    """`admissions` are those of its endpoints."""

    client: TorchServeClient
    admissions: EndpointAdmissions


class TorchServes:
    """Made at the first use, kept until the gateway ends: requests may be under way long after a row is gone."""

    def __init__(
        self,
        connect: Callable[[TorchServeAddress], TorchServeClient],
        admissions: Callable[[], EndpointAdmissions],
    ) -> None:
        self._connect, self._admissions = connect, admissions
        self._made: dict[TorchServeAddress, TorchServe] = {}

    def at(self, address: TorchServeAddress) -> TorchServe:
        made = self._made.get(address)
        if made is None:
            made = self._made[address] = TorchServe(self._connect(address), self._admissions())
        return made

    async def close(self) -> None:
        await asyncio.gather(*(made.client.close() for made in self._made.values()))
