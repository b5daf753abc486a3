"""How large the answers of searches may become, so that no upstream request brings more than one answer may hold.

The answers of a TorchServe batch share a limit (docs/decisions/051-bounded-answers.md), and the index service refuses
what is over its own. Searches that may bring much therefore travel in smaller requests, and one call is answered up to
a limit.
"""

from __future__ import annotations

from clip_core.errors import TooLarge
from clip_core.wire import SearchPart

_ID_BYTES, _METADATA_BYTES = 100, 512  # of a usual hit; the index service bounds what metadata may be
_USUAL_DIM = 768


def answer_bytes(search: SearchPart, dim: int | None) -> int:
    """About what the hits of this search take, if there are as many as it asks for."""
    hit = _ID_BYTES
    if "metadata" in search.include:
        hit += _METADATA_BYTES
    if "vector" in search.include:
        hit += (dim or _USUAL_DIM) * 16 // 3
    return search.k * hit


class AnswerBudget:
    """The bytes that one call's answers have taken so far."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0

    def add(self, answer: object) -> None:
        """An upstream's answer, which knows its `bytes`, or an error."""
        self._taken += answer.get("bytes", 0) if isinstance(answer, dict) else 0

    def refusal(self) -> TooLarge | None:
        """For the searches that are still to come, once the answers are too large."""
        if self._taken <= self._most:
            return None
        advice = "ask for fewer hits, leave vectors or metadata out, or send the searches in several calls"
        return TooLarge(f"the answers of this call are larger than {self._most} bytes: {advice}", param="k")
