"""What the index service says of collections, remembered for a moment: every search and batch wants to know it."""

from __future__ import annotations

from typing import Any

from cachetools import TTLCache

from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]
_KNOWN_S, _MOST_KNOWN = 2.0, 1024


class KnownCollections:
    """Descriptions by name, of a collection or an alias. Whoever meets a contradiction forgets and asks again."""

    def __init__(self, index: IndexServiceClient) -> None:
        self._index = index
        self._known: TTLCache[str, Json] = TTLCache(_MOST_KNOWN, _KNOWN_S)

    async def describe(self, name: str) -> Json:
        """Raises UnknownCollection."""
        known: Json | None = self._known.get(name)
        return known if known is not None else await self.describe_again(name)

    async def describe_again(self, name: str) -> Json:
        """As it is now. Raises UnknownCollection."""
        self._known.pop(name, None)
        described = self._known[name] = await self._index.describe(name)
        return described

    def forget(self, name: str) -> None:
        self._known.pop(name, None)
