"""Drafts of one picture's caption, and what an answer says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.upstream.caption_replies import CaptionReply

USED = "used"


@dataclass(frozen=True)
class CaptionDrafts:
    """`why`: "" where there are some, else why there are none; None where none were wanted.

    `origin` names the caller and the collection: the captioner learns of each what its drafts bring.
    """

    texts: Sequence[str] = ()
    why: str | None = None
    ms: float = 0.0
    origin: str = ""


NO_DRAFTS = CaptionDrafts()


def usage_of(replies: Iterable[CaptionReply]) -> dict[str, int]:
    """Tokens that were drafted, and those of them that became text; nothing where nothing was drafted."""
    counted: list[Mapping[str, Any]] = [each for reply in replies if "passes" in (each := reply.get("drafts") or {})]
    if not counted:
        return {}
    return {
        "drafted_tokens": sum(each.get("drafted", 0) for each in counted),
        "accepted_tokens": sum(each.get("accepted", 0) for each in counted),
    }


def told_of(drafts: CaptionDrafts, reply: CaptionReply) -> str | None:
    """What `timing` says of one picture's drafts."""
    if drafts.why is None or drafts.why:
        return drafts.why
    off = (reply.get("drafts") or {}).get("off")
    return off if isinstance(off, str) else USED
