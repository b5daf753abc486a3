"""What a search says of reranking: by what, of how many candidates, for how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clip_core.errors import InvalidRequest

BY = ("captioner", "tree", "llm")
MOST_CANDIDATES, MOST_MS, MOST_TOKENS = 1000, 60_000, 10_000_000
CANDIDATES = 20
MOST_LISTWISE = 50  # candidates that one prompt shows
_FIELDS = ("by", "candidates", "budget_ms", "budget_tokens", "explain")


@dataclass(frozen=True)
class Wanted:
    """None sets no budget. Of `candidates` a language model is shown the first `MOST_LISTWISE`."""

    by: str
    candidates: int = CANDIDATES
    budget_ms: float | None = None
    budget_tokens: int | None = None
    explain: bool = False

    def reached(self) -> int:
        """How many candidates are looked at."""
        return min(self.candidates, MOST_LISTWISE) if self.by == "llm" else self.candidates


def parse_rerank(value: object) -> Wanted:
    """ "tree", or an object with `by`. Raises InvalidRequest that names the field."""
    given: Mapping[str, Any] = {"by": value} if isinstance(value, str) else value  # type: ignore[assignment]
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"`rerank` is one of {', '.join(BY)}, or an object with `by`", param="rerank")
    if unknown := sorted(str(name)[:64] for name in given if name not in _FIELDS):
        raise InvalidRequest(f"`rerank` has no field {unknown[0]!r}", param=f"rerank.{unknown[0]}")
    if given.get("by") not in BY:
        raise InvalidRequest(
            f"`rerank.by` is one of {', '.join(BY)}",
            param="rerank" if isinstance(value, str) or "by" not in given else "rerank.by",
        )
    explain = given.get("explain", False)
    if not isinstance(explain, bool):
        raise InvalidRequest("`rerank.explain` is true or false", param="rerank.explain")
    candidates = _whole(given, "candidates", 1, MOST_CANDIDATES)
    tokens = _whole(given, "budget_tokens", 0, MOST_TOKENS)
    return Wanted(given["by"], CANDIDATES if candidates is None else candidates, _ms(given), tokens, explain)


def _whole(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = given.get(name)
    if value is not None and (type(value) is not int or not least <= value <= most):
        raise InvalidRequest(f"`rerank.{name}` is a whole number from {least} to {most}", param=f"rerank.{name}")
    return value


def _ms(given: Mapping[str, Any]) -> float | None:
    value = given.get("budget_ms")
    if value is not None and (type(value) not in (int, float) or not 0 <= value <= MOST_MS):
        raise InvalidRequest(f"`rerank.budget_ms` is a number from 0 to {MOST_MS}", param="rerank.budget_ms")
    return value
