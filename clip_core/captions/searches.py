"""Which search a request is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clip_core.captions.ask import CaptionAsk
from clip_core.captions.beams import Beams
from clip_core.captions.greedy import Greedy
from clip_core.captions.samples import Samples
from clip_core.captions.search import CaptionSearch, Ids

_KINDS: dict[str, Callable[[CaptionAsk, Sequence[int], Ids], CaptionSearch]] = {
    "greedy": Greedy,
    "beam": Beams,
    "sample": Samples,
}


def search_of(ask: CaptionAsk, prefix: Sequence[int], ids: Ids) -> CaptionSearch:
    """`prefix`: the start and the prompt. `ask` has a seed."""
    return _KINDS[ask.method](ask, prefix, ids)
