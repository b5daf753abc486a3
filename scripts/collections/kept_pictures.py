"""The pictures that the gateway shows of a collection's items: from folders, copies, or thumbnails."""

from __future__ import annotations

from clip_core.errors import NotFound
from clipserve_client.calls.calls import quoted
from scripts.public_api import PublicApi

_THUMBNAIL = 768


class KeptPictures:
    """With `thumbnails`, the larger thumbnail stands in for a picture that isn't kept."""

    def __init__(self, gateway: PublicApi, collection: str, *, thumbnails: bool) -> None:
        self._gateway, self._collection = gateway, quoted(collection)
        self._names = ("picture", f"thumbnail?size={_THUMBNAIL}") if thumbnails else ("picture",)

    def of(self, item_id: str) -> bytes | None:
        """None when there is none. Raises ClipServeError when the gateway can't say."""
        found = (self._get(f"/v1/collections/{self._collection}/items/{quoted(item_id)}/{n}") for n in self._names)
        return next((each for each in found if each is not None), None)

    def _get(self, path: str) -> bytes | None:
        try:
            with self._gateway.download(path) as parts:
                return b"".join(parts)
        except NotFound:
            return None
