"""`clipserve model remove`: the gateway forgets a model, then its endpoints leave TorchServe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clip_core.errors import Conflict, TorchServeUnavailable
from gateway.models.rows import ModelRow
from gateway.models.rows_file import LOOK_S
from scripts.models.canary import canary
from scripts.models.management import Management
from scripts.models.retiring import retire
from scripts.models.row_store import RowStore, by_kind
from scripts.public_api import PublicApi


@dataclass(frozen=True)
class Removal:
    """`notice_s`: in which the gateway sees that the row is gone."""

    torchserve: Management
    index: PublicApi
    rows: RowStore
    row: ModelRow
    force: bool = False
    notice_s: float = 3 * LOOK_S
    drain_s: float = 2.0
    report: Callable[[str], object] = lambda _: None

    def run(self) -> None:
        """Raises Conflict before anything is changed."""
        if not self.force:
            self._check_collections()
        self.rows.remove(self.row.name)
        self.report(f"the gateway serves {self.row.name} no more; draining its endpoints")
        time.sleep(self.notice_s)
        items = _items(self.row)
        versions = {endpoint: self.torchserve.registered(endpoint) for endpoint in items}
        leaving = {endpoint: self._default_alone(endpoint, found) for endpoint, found in versions.items() if found}
        retire(self.torchserve, leaving, items, self.drain_s, self.report)

    def _check_collections(self) -> None:
        """Those whose vectors no other model makes."""
        fingerprint = self._fingerprint(self.row)
        others = [row for row in self.rows.read() if row.name != self.row.name]
        if fingerprint is not None and any(self._fingerprint(row) == fingerprint for row in others):
            return
        listed = self.index.call("GET", "/collections")
        if listed.get("incomplete"):
            raise Conflict(
                f"not every collection can be listed, and one may hold vectors of {self.row.name}: "
                f"{listed['incomplete']}. Remove it all the same with --force"
            )
        holding = [each for each in listed["collections"] if self._holds(each, fingerprint)]
        if holding:
            names = ", ".join(f"{each['name']} ({each['count']} items)" for each in holding)
            raise Conflict(
                f"collections hold vectors of {self.row.name}: {names}. Searches by text or image in them would "
                "answer 409 until it is served again; remove it all the same with --force"
            )

    def _holds(self, collection: Mapping[str, Any], fingerprint: str | None) -> bool:
        if fingerprint is None:
            return bool(collection["model"] == self.row.name)
        return bool(collection["fingerprint"] == fingerprint)

    def _fingerprint(self, row: ModelRow) -> str | None:
        """As it answers now; None when it does not."""
        endpoint, item = next(iter(_items(row).items()))
        try:
            return str(self.torchserve.predict(endpoint, item)["fingerprint"])
        except TorchServeUnavailable:
            return None

    def _default_alone(self, endpoint: str, versions: Sequence[str]) -> str:
        """The default version, once the others are gone: nobody asks for them."""
        default = self.torchserve.default_version(endpoint)
        for version in versions:
            if version != default:
                self.torchserve.unregister(endpoint, version)
        return default


def _items(row: ModelRow) -> dict[str, dict[str, object]]:
    """Endpoint → what it takes."""
    return {endpoint: canary(kind) for kind, endpoint in by_kind(row).items()}
