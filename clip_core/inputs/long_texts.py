"""The start of a long text that decides its tokens: long texts cost little more than short ones.

A head is cut where nothing that is cleaned or tokenized as one thing reaches across: before whitespace or the sign that
ends a clause in Chinese and Japanese, on a line whose start is cleaned in the same way without its end.
"""

from __future__ import annotations

import re

from clip_core.inputs.clean_text import depends_on_all

_ENDS = re.compile(r".*([ \t\n、。，！？：；])", re.DOTALL)
_VOID = re.compile(r"([ \t\n\r\xa0]|&nbsp;)(?:[ \t\n\r\xa0]|&nbsp;){14,}([ \t\n\r\xa0]|&nbsp;)")


def last_end(text: str, chars: int) -> int | None:
    """A place to cut in the second half of the first `chars` characters."""
    end = _ENDS.match(text, chars // 2, chars)
    return end.start(1) if end else None


def is_settled(text: str, place: int, most: int) -> bool:
    """Whether what stands before `place` is cleaned as in the whole; `most` characters behind it are looked at."""
    start, stop = text.rfind("\n", 0, place) + 1, text.find("\n", place, place + most)
    return stop == place or not depends_on_all(text[start : stop if stop >= 0 else place + most])


def without_voids(text: str) -> str:
    """Long runs of whitespace shortened, with the same words and lines left."""
    return _VOID.sub(lambda run: run[1] + (" \n " if "\n" in run[0] else "   ") + run[2], text)
