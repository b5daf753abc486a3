"""Captions as files beside pictures, by a gateway's language model or captioner."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipserve_client import Client
from clipserve_client.answers.answers import Limits
from clipserve_client.errors import ClientError
from clipserve_client.sources.files import Skip, read
from clipserve_client.sources.preparing import prepared
from clipserve_client.sources.sidecars import names_beside
from clipserve_client.sources.walking import Found, Walk, readable

Read = tuple[Found, bytes]
_AT_ONCE = 16
_OWN = ("invalid_image", "image_too_large", "llm_failed", "llm_refused")  # errors of one picture


class CaptionNotWritten(ClientError):
    """A caption was made, and its file can't be written."""


class NoPrice(ClientError):
    """A limit was given, and the gateway knows no price of its language model."""


@dataclass
class FolderCaptioned:
    """What came of a run; `stopped` says why it ended early."""

    by: str
    written: int = 0
    cost_usd: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)
    stopped: str = ""

    def text(self) -> str:
        told = f"{self.written} captions by {self.by} for {self.cost_usd:.4f} USD, {len(self.failed)} failed"
        return f"{told}\nstopped: {self.stopped}" if self.stopped else told


def pictures_without(folder: Path) -> list[Found]:
    """Those that `ingest` would find there, without a sidecar beside them, .txt or .json, by name."""
    with closing(Walk(folder)) as walk:
        return [each for each in walk if not (each.skipped.startswith("not a picture") or _is_told(each.path))]


def _is_told(picture: str) -> bool:
    return any(os.path.exists(name) for kind in (".txt", ".json") for name in names_beside(picture, kind))


def caption_files(pictures: Sequence[Found]) -> dict[str, Path]:
    """Path → NAME.txt; NAME.jpg.txt and NAME.png.txt where two of them have the same name but for its end."""
    alike = Counter(os.path.splitext(picture.path)[0] for picture in pictures)
    files = {}
    for picture in pictures:
        whole, short = names_beside(picture.path, ".txt")
        files[picture.path] = Path(short if alike[os.path.splitext(picture.path)[0]] == 1 else whole)
    return files


def llm_cost(client: Client, number: int) -> str:
    """What so many by the language model cost, at most. Raises ClientError."""
    told = client.call("GET", f"/v1/captions/cost?pictures={number}")
    if told["cost_usd"] is None:
        return f"{number} captions by {told['by']} for an unknown price"
    dated = f"(prices of {told['prices_as_of']})"
    return f"{number} captions by {told['by']} for at most {told['cost_usd']:.4f} USD {dated}"


class FolderCaptions:
    """Each caption is written before the next pictures are sent, so whoever stops goes on where this ended."""

    def __init__(self, client: Client, *, offline: bool, max_cost_usd: float | None) -> None:
        self._client, self._offline, self._max_cost_usd = client, offline, max_cost_usd

    def expected(self, number: int) -> str:
        """What so many cost, at most. Raises ClientError."""
        if self._offline:
            return f"{number} captions by a captioner"
        return llm_cost(self._client, number)

    def write(self, pictures: Sequence[Found], went: Callable[[int], None] = lambda _: None) -> FolderCaptioned:
        """`went` hears how many pictures were sent. Raises ClientError where nothing was written yet."""
        ended, files = FolderCaptioned("captioner" if self._offline else "the language model"), caption_files(pictures)
        for part in self._parts(pictures, ended):
            if ended.stopped:
                break
            if self._is_too_much(ended.cost_usd, len(part)):
                ended.stopped = f"the next captions could cost more than what is left of {self._max_cost_usd:g} USD"
                break
            try:
                self._write(part, files, ended)
                went(len(part))
            except ClientError as error:
                if not ended.written:
                    raise
                ended.stopped = str(error)
        return ended

    def _is_too_much(self, spent: float, number: int) -> bool:
        if self._max_cost_usd is None or self._offline:
            return False
        told = self._client.call("GET", f"/v1/captions/cost?pictures={number}")
        if told["cost_usd"] is None:
            message = (
                f"there is no price of {told['by']}, so --max-cost-usd can't be kept: leave it out, or give a price"
            )
            raise NoPrice(message)
        return bool(spent + told["cost_usd"] > self._max_cost_usd)

    def _parts(self, pictures: Sequence[Found], ended: FolderCaptioned) -> Iterator[list[Read]]:
        """A few at a time, as many as a request may hold. What can't be sent has failed."""
        limits = self._client.limits()
        part, size = list[Read](), 0
        for picture in pictures:
            try:
                content = _content(picture, limits)
            except Skip as skip:
                ended.failed.append((readable(picture.path), skip.message or skip.reason))
                continue
            if part and (len(part) == _AT_ONCE or size + len(content) > limits.max_body_bytes // 2):
                yield part
                part, size = [], 0
            part.append((picture, content))
            size += len(content)
        if part:
            yield part

    def _write(self, part: Sequence[Read], files: Mapping[str, Path], ended: FolderCaptioned) -> None:
        for (picture, _), told in zip(part, self._captions(part, ended), strict=True):
            if "text" in told:
                _keep(files[picture.path], told["text"])
                ended.written += 1
            elif told["error"]["code"] in _OWN or self._offline:
                ended.failed.append((readable(picture.path), told["error"]["message"]))
            else:
                ended.stopped = told["error"]["message"]

    def _captions(self, part: Sequence[Read], ended: FolderCaptioned) -> Iterator[dict[str, Any]]:
        body: dict[str, Any] = {"images": [base64.b64encode(content).decode() for _, content in part]}
        told = self._client.call("POST", "/v1/captions" if self._offline else "/v1/captions/llm", body)
        ended.by, ended.cost_usd = told.get("by", ended.by), ended.cost_usd + told.get("cost_usd", 0.0)
        yield from told["data"]


def _content(picture: Found, limits: Limits) -> bytes:
    """As `ingest` sends it. Raises Skip."""
    if picture.skipped:
        raise Skip(picture.skipped, picture.message)
    return prepared(read(picture.path)[0], limits, gps=False).content


def _keep(file: Path, caption: str) -> None:
    """Whole or not at all: half of a caption would pass for one."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(caption + "\n", encoding="utf-8")
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise CaptionNotWritten(f"{file} can't be written: {error.strerror}") from error
