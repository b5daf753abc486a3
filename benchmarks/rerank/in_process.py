"""The captioner of this process as reranking asks it. What an arm asked is known to the others."""

from __future__ import annotations

from collections.abc import Sequence

from clip_core.captions.captioner import Captioner, Memory
from gateway.reranking.scorer import Row, Scores

Known = dict[tuple[int, str], float]


class InProcessScorer:
    """Of one query: `memories` of its candidates. `known` holds log P by candidate and text."""

    def __init__(self, captioner: Captioner, memories: Sequence[Memory], known: Known) -> None:
        self._captioner, self._memories, self._known = captioner, memories, known

    async def score(self, places: Sequence[int], texts: Sequence[str], most_tokens: int | None) -> Scores:
        assert most_tokens is None, "the arms have no budgets here"
        new = [place for place in places if any((place, text) not in self._known for text in texts)]
        missing = [text for text in texts if any((place, text) not in self._known for place in new)]
        if new:
            found = self._captioner.score_pictures([self._memories[place] for place in new], missing)
            for place, row in zip(new, found, strict=True):
                self._known |= {(place, text): value for text, value in zip(missing, row, strict=True)}
        rows: list[Row] = [[self._known[place, text] for text in texts] for place in places]
        return Scores(rows, len(places) * sum(map(self.tokens, texts)), len(places))

    def tokens(self, text: str) -> int:
        """That the decoder reads: without the start."""
        return self._captioner.tokenizer(text).count - 1
