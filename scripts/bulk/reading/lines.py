"""Lines of a text file: URLs of pictures, or texts."""

from __future__ import annotations

import io
import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

from clipserve_client.sources.files import Skip
from clipserve_client.sources.json_values import carried, is_text, read_object
from clipserve_client.sources.parquet_values import as_id, is_url
from clipserve_client.sources.url_list import url_id
from scripts.bulk.reading.items import Bad, Raw, caption_in, text_alone, without_picture
from scripts.bulk.reading.places import THREADS, part_of_file
from scripts.bulk.reading.stores import Stores
from scripts.bulk.reading.urls import Fetcher
from scripts.bulk.shards.errors import Away
from scripts.bulk.shards.shard import UNCUT, Shard
from scripts.sync.ahead import ahead

Json = dict[str, Any]


class LineReader:
    """`texts`: lines are texts, in a .jsonl the field `text` of an object; else URLs, or objects with `url`.

    `embed` as in `BulkJob`: for texts alone no picture is fetched.
    """

    def __init__(self, stores: Stores, embed: str, texts: bool, fetcher: Fetcher) -> None:
        self._stores, self._embed, self._texts, self._fetcher = stores, embed, texts, fetcher

    def items(self, shard: Shard) -> Iterator[Raw | Bad]:
        """Raises SourceError, Away and OSError."""
        content = part_of_file(shard.path, shard.start, shard.end, self._stores)
        if shard.version.endswith(UNCUT):
            raise Away(f"{shard.path} could not be read when it was cut: the next run cuts it")
        numbered = enumerate(io.BytesIO(content), shard.first)
        if not self._texts:
            urls = (each for each in numbered if not _is_left_out(each[1]))
            return ahead(urls, lambda each: self._picture(*each), THREADS)
        read, name = _told if shard.path.lower().endswith(".jsonl") else _text, os.path.basename(shard.path)
        return (read(f"{name}#{number}", line) for number, line in numbered)

    def _picture(self, number: int, line: bytes) -> Raw | Bad:
        text = line.decode("utf-8-sig", "backslashreplace").strip()
        told = (read_object(text) or {}) if text.startswith("{") else {"url": text}
        url = told.get("url")
        if not is_url(url):
            return Bad(f"line {number + 1}", "not a URL", text[:200])
        metadata, _ = carried({"url": url, **_object(told.get("metadata"))})
        item_id = (as_id(told.get("id")) or url_id(url)).encode("utf-8", "backslashreplace").decode()
        if self._embed == "text":
            return text_alone(item_id, metadata, "the line has no caption in its `metadata`; --texts reads texts")
        try:
            return Raw(item_id, self._fetcher.fetch(url), caption_in(metadata), metadata)
        except Skip as skip:
            return without_picture(Bad(item_id, skip.reason, skip.message), self._embed, metadata)


def _text(name: str, line: bytes) -> Raw | Bad:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return Bad(name, "text not read", "the line is not UTF-8")
    return Raw(name, None, text, {}) if text and is_text(text) else Bad(name, "nothing to embed", "empty line")


def _told(name: str, line: bytes) -> Raw | Bad:
    """{"text", "id", "metadata"}; only `text` is needed."""
    told = read_object(line)
    if told is None:
        return Bad(name, "text not read", "the line is no JSON object") if line.strip() else _text(name, line)
    given = as_id(told.get("id"))
    item_id, text = given if given and is_text(given) else name, told.get("text")
    if not (isinstance(text, str) and text.strip() and is_text(text)):
        return Bad(item_id, "nothing to embed", "the line has no `text`")
    return Raw(item_id, None, text.strip(), carried(_object(told.get("metadata")))[0])


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _is_left_out(line: bytes) -> bool:
    """Of a list of URLs, as `clipserve ingest` reads it."""
    return line.removeprefix(BOM_UTF8).lstrip()[:1] in (b"", b"#")
