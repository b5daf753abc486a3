"""The captions of what a collection holds near a picture: drafts for its own."""

from __future__ import annotations

import msgspec
import orjson

from clip_core.errors import ClipServeError
from clip_core.wire import SearchPart
from gateway.encode.chunks import Ask
from gateway.inputs.paging import Page
from gateway.inputs.source import Source
from gateway.search.searching import Searcher


class _Metadata(msgspec.Struct):
    caption: object = None


class _Hit(msgspec.Struct):
    metadata: _Metadata | None = None


_HITS = msgspec.json.Decoder(list[_Hit])


async def neighbour_captions(searcher: Searcher, picture: Source, collection: str, model: str, k: int) -> list[str]:
    """Of the `k` nearest, those that have one, each text once. `picture` may be an item's id ("like").

    Raises ClipServeError, also where the collection's vectors are of another model.
    """
    search = SearchPart(collection, k, include=("metadata",))
    answer = await searcher.uncharged(Ask(picture, search, model, Page(k)))
    if isinstance(answer, ClipServeError):
        raise answer
    found = [hit.metadata for hit in _HITS.decode(orjson.dumps(answer["hits"]))]  # which are JSON already
    captions = [each.caption for each in found if each is not None]
    return list(dict.fromkeys(text for text in captions if isinstance(text, str) and text.strip()))
