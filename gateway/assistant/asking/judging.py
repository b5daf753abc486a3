"""Whether a language model's answer stands: not where what we know of the pictures says otherwise.

Whoever writes into a picture or its data may sway the model, but not what captions, metadata and our own captioner say
of the other pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.assistant.offline.offline_answers import Answered, Looked


@dataclass(frozen=True)
class Ruling:
    """`cited` is what the answer cites in the end."""

    stands: bool
    cited: tuple[Looked, ...]


class AnswerJudge:
    """Of one question: `seen` is what was looked at, `known` the answer without the model."""

    def __init__(self, seen: Sequence[Looked], known: Answered) -> None:
        self._seen = {each.evidence.ref: each for each in seen}
        self._known = known
        self.verified = {each.evidence.ref for each in known.cited} if known.kind != "other" else set[str]()

    def rule(self, citations: Sequence[str], found: bool) -> Ruling:
        """`citations` are names of what was looked at."""
        cited = tuple(self._seen[ref] for ref in citations)
        if self._known.kind == "other":
            return Ruling(True, cited if found else ())
        if self._known.found:
            denied = any(each.verdict == "no" and each.evidence.ref not in self.verified for each in cited)
            stands = found and self.verified <= set(citations) and not denied
            return Ruling(stands, cited if stands else self._known.cited)
        open_ones = tuple(each for each in cited if each.verdict == "unknown")
        if not found:
            return Ruling(True, ())
        return Ruling(len(open_ones) == len(cited), open_ones if len(open_ones) == len(cited) else ())
