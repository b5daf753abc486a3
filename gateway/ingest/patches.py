"""Changes of items' metadata: checked for size here, and item by item by the index service.

What the gateway itself needs in metadata stays as it is: without it an item would lose its picture.
"""

from __future__ import annotations

from typing import Any

from clip_core.errors import TooLarge
from gateway.pictures.originals import DIGEST, ORIGINAL_FILE
from gateway.upstream.index_service import IndexServiceClient

Json = dict[str, Any]
_FIXED = (DIGEST, ORIGINAL_FILE)


async def patch_one(index: IndexServiceClient, collection: str, item_id: str, body: Json) -> Json:
    """The item as it is now. Raises UnknownItem, or BadInput for a change of what stays."""
    return await index.patch_item(collection, item_id, body, _FIXED)


async def patch_many(index: IndexServiceClient, collection: str, body: Json, max_items: int) -> Json:
    """One call of `PATCH …/items`; what failed says where it stood. Raises TooLarge for more than `max_items`."""
    for name in ("items", "ids"):
        listed = body.get(name)
        if isinstance(listed, list) and len(listed) > max_items:
            raise TooLarge(f"{len(listed)} items in one call; at most {max_items}", param=name)
    answer = await index.patch_items(collection, body, _FIXED)
    if "results" in answer:
        _name_places(answer["results"], "ids" if body.get("items") is None else "items")
    return answer


def _name_places(results: list[Json], listed: str) -> None:
    for place, result in enumerate(results):
        if "error" in result:
            result["error"]["param"] = f"{listed}[{place}]"
