"""How long clients may take: settings need these without what watches over them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClientTimeouts:
    """`pause_s`: between two pieces of a body; `body_s`: for a body, and one second more for every 16 KB of it that has
    come; `stall_s`: with neither a piece of body nor of answer, nor an answer from upstream. Only the time in which a
    piece is waited for counts against the body: a stream may have to wait while what came before is encoded.
    """

    pause_s: float = 10.0
    body_s: float = 30.0
    stall_s: float = 120.0
